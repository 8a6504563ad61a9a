"""What installing and importing the package costs and brings along."""

from __future__ import annotations

import ast
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import requires
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import airflow_mltrain

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE = Path(__file__).resolve().parents[1]
_PACKAGE = _CLONE / "airflow_mltrain"
_HEAVY = {
    "alembic",
    "asyncssh",
    "docker",
    "fastapi",
    "fsspec",
    "numpy",
    "pandas",
    "paramiko",
    "psycopg",
    "pyspark",
    "s3fs",
    "sklearn",
}
_NEW_WITH_PYTHON_3_9_TO_3_13 = {"graphlib", "zoneinfo", "tomllib"}


def test_importing_the_package_imports_nothing_else(tmp_path: Path) -> None:
    loaded = _modules_after("import airflow_mltrain", airflow_home=tmp_path)

    assert {name for name in loaded if name.startswith("airflow")} == {"airflow_mltrain"}
    assert not _roots(loaded) & (_HEAVY | {"pydantic", "sqlalchemy"})


def test_airflow_learns_of_the_package_without_loading_the_rest_of_it(tmp_path: Path) -> None:
    call = "from airflow_mltrain.provider_info import get_provider_info; get_provider_info()"

    loaded = _modules_after(call, airflow_home=tmp_path)

    assert {name for name in loaded if name.startswith("airflow")} == {
        "airflow_mltrain",
        "airflow_mltrain.provider_info",
    }


def test_the_core_is_imported_without_airflow(tmp_path: Path) -> None:
    layers = ConfigParser()
    layers.read(_CLONE / ".importlinter")
    rooms = layers["importlinter:contract:core-without-airflow"]["source_modules"].split()
    core = [name for name in _modules() if name.startswith(tuple(rooms))]

    loaded = _modules_after(f"import {', '.join(core)}", airflow_home=tmp_path)

    assert "airflow_mltrain.submission" in loaded
    assert "airflow" not in _roots(loaded)


def test_a_dag_file_loads_no_client_of_any_target_or_database(tmp_path: Path) -> None:
    imports = """
import airflow.sdk, airflow.triggers.base
from airflow_mltrain import Environment, RunConfiguration, ScriptRunConfig
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator
from airflow_mltrain.sensors.training_run import TrainingRunSensor
"""
    airflow = imports.splitlines()[1]

    loaded = _modules_after(imports, airflow_home=tmp_path)
    loaded -= _modules_after(airflow, airflow_home=tmp_path)

    assert "airflow_mltrain.operators.submit_training_run" in loaded
    assert not _roots(loaded) & _HEAVY
    assert "airflow_mltrain.runs.database" not in loaded  # Airflow has loaded SQLAlchemy already


@pytest.mark.parametrize(
    "path", sorted((_PACKAGE / "runtime").rglob("*.py")), ids=lambda path: path.stem
)
def test_what_travels_to_a_target_needs_no_more_than_python_3_8(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))

    needed = {name.split(".")[0] for name in _imported(tree)}

    comes_along = {"mltrain"} if "training" in path.parts else set()
    assert needed <= sys.stdlib_module_names - _NEW_WITH_PYTHON_3_9_TO_3_13 | comes_along


def test_each_dependency_is_tested_in_a_version_that_the_package_allows() -> None:
    tested: dict[str, set[str]] = {}
    for line in (_CLONE / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.lstrip().startswith("#"):
            pin = Requirement(line)
            (version,) = pin.specifier
            tested.setdefault(canonicalize_name(pin.name), set()).add(version.version)

    allowed = [Requirement(text) for text in requires("airflow-mltrain") or []]

    assert allowed
    assert all(tested.get(canonicalize_name(one.name)) for one in allowed)
    assert all(
        one.specifier.contains(version)
        for one in allowed
        for version in tested[canonicalize_name(one.name)]
    )


def test_the_constraints_name_no_place_to_download_from() -> None:
    constraints = (_CLONE / "constraints.txt").read_text(encoding="utf-8")

    assert "://" not in constraints
    assert "--" not in constraints


def test_every_name_the_package_offers_is_there() -> None:
    offered = {name: getattr(airflow_mltrain, name) for name in airflow_mltrain.__all__}

    assert all(thing.__module__.startswith("airflow_mltrain.") for thing in offered.values())


def _modules() -> Iterator[str]:
    for file in sorted(_PACKAGE.rglob("*.py")):
        parts = file.relative_to(_CLONE).with_suffix("").parts
        if file.name != "__main__.py" and "migrations" not in parts:  # those run when imported
            yield ".".join(parts).removesuffix(".__init__")


def _modules_after(code: str, *, airflow_home: Path) -> set[str]:
    """The names of all modules that a new interpreter has loaded once it has run the code."""
    names = airflow_home / "modules"  # Airflow logs to the standard output
    listing = f"import sys\n{code}\nopen(sys.argv[1], 'w').write(' '.join(sys.modules))"
    subprocess.run(
        [sys.executable, "-c", listing, names],
        cwd=_CLONE,
        env={"AIRFLOW_HOME": str(airflow_home), "PATH": "/usr/bin:/bin"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return set(names.read_text(encoding="utf-8").split())


def _roots(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module)
