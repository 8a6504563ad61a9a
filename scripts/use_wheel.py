"""Use the installed package from outside its clone, which is the only argument."""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from pathlib import Path

import azureml.core

import airflow_mltrain
import mltrain
from airflow_mltrain.runs.history import open_run_history


def main(clone: Path) -> None:
    """Raise where what was installed is not the whole package."""
    for module in (airflow_mltrain, mltrain, azureml.core):
        home = Path(str(module.__file__)).resolve()
        if clone.resolve() in home.parents:
            raise SystemExit(f"{module.__name__} comes from the clone: {home}")
    for name in airflow_mltrain.__all__:
        getattr(airflow_mltrain, name)

    if azureml.core.Run is not mltrain.Run:
        raise SystemExit("a script written for Azure ML finds another Run than mltrain's")

    package = Path(str(airflow_mltrain.__file__)).parent
    missing = _files(clone / "airflow_mltrain") - _files(package)
    if missing:
        raise SystemExit(f"the wheel lacks {sorted(missing)}")
    if not (package / "py.typed").is_file():
        raise SystemExit("py.typed is missing: the package's types would not count")
    installed = distribution("airflow-mltrain")
    if installed.version != airflow_mltrain.__version__:
        raise SystemExit(f"{installed.version} is installed as {airflow_mltrain.__version__}")
    groups = {point.group for point in installed.entry_points if point.load()}
    if not {"apache_airflow_provider", "airflow.plugins"} <= groups:
        raise SystemExit(f"Airflow is told of {sorted(groups)} only")

    # Its first use runs the migrations, which are files of the package.
    history = open_run_history(f"sqlite:///{Path.cwd()}/history/runs.db")
    if history.list_runs():
        raise SystemExit("a new run history is not empty")
    history.close()


def _files(package: Path) -> set[str]:
    return {
        str(path.relative_to(package))
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
