"""Scripts that were written for Azure ML's SDK, where it is and where it is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mltrain.runtime.training import mltrain

_MODULES = Path(mltrain.__file__).parents[1]


def run_script(script: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    """A script's output, with our modules in reach before those in other folders."""
    path = os.pathsep.join(map(str, (_MODULES, *folders)))
    return subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": path},
        capture_output=True,
        check=False,
        text=True,
    )


def install(folder: Path, part: str, *, init: str | None) -> Path:
    """A folder with one part of the real SDK, whose `azureml` is a package where it has code."""
    (folder / "azureml" / part).mkdir(parents=True)
    (folder / "azureml" / part / "__init__.py").write_text("Run = 'the real one'")
    if init is not None:
        (folder / "azureml/__init__.py").write_text(init)
    return folder


def test_every_import_of_a_training_script_is_answered() -> None:
    script = """
from azureml.core import Dataset, Datastore, Environment, Experiment, Model, Run, Workspace
from azureml.core import ComputeTarget, Keyvault, ScriptRunConfig
from azureml.core.compute import ComputeTarget as again
from azureml.core.conda_dependencies import CondaDependencies
from azureml.core.dataset import Dataset
from azureml.core.datastore import Datastore
from azureml.core.environment import Environment
from azureml.core.experiment import Experiment
from azureml.core.model import Model
from azureml.core.run import Run as same, _OfflineRun
from azureml.core.runconfig import DockerConfiguration, RunConfiguration
from azureml.core.script_run_config import ScriptRunConfig
from azureml.core.workspace import Workspace
import mltrain

def load(workspace: Workspace, dataset: "Dataset") -> Model: ...

run = Run.get_context()
print(Run is same is mltrain.Run, isinstance(run, _OfflineRun), isinstance(run, Workspace))
print(again is ComputeTarget, run.experiment.name, run.experiment.workspace)
"""

    done = run_script(script)

    assert done.stderr == ""
    assert done.stdout == (
        "True True False\nTrue offline Workspace(out of reach of a training script)\n"
    )


@pytest.mark.parametrize(
    ("use", "remedy"),
    [
        ("Workspace.from_config()", "Workspace.from_config is not in reach"),
        ("Workspace('id', 'group', 'name')", "Workspace is not in reach"),
        ("Dataset.get_by_name(None, 'x')", "pass the path of the data as an argument"),
        ("Model.get_model_path('x')", "pass the path of a model that it reads"),
        ("Model(None, 'x')", "Run.get_context().register_model"),
        ("Run.get_context().experiment.workspace.datastores", "Workspace.datastores"),
        ("Run.get_context().get_secret('x')", "Keyvault.get_secret"),
    ],
)
def test_what_is_out_of_reach_says_so_where_it_is_used(use: str, remedy: str) -> None:
    done = run_script(f"from azureml.core import Dataset, Model, Run, Workspace\n{use}")

    assert done.returncode == 1
    assert remedy in done.stderr.splitlines()[-1]


def test_a_name_that_nobody_knows_is_an_import_error() -> None:
    done = run_script("from azureml.core import Nonsense")

    assert "ImportError: cannot import name 'Nonsense' from 'azureml.core'" in done.stderr


@pytest.mark.parametrize(
    "init", ["__path__ = __import__('pkgutil').extend_path(__path__, __name__)", "", None]
)
def test_a_real_sdk_is_never_hidden(tmp_path: Path, init: str | None) -> None:
    real = install(tmp_path, "core", init=init)

    done = run_script("import azureml.core; print(azureml.core.Run)", real)

    assert (done.stdout, done.stderr) == ("the real one\n", "")


def test_another_part_of_the_sdk_leaves_the_core_to_us(tmp_path: Path) -> None:
    init = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)"
    other = install(tmp_path, "dataprep", init=init)

    done = run_script(
        "import azureml.core, azureml.dataprep; print(azureml.core.Run, azureml.dataprep.Run)",
        other,
    )

    assert done.stderr == ""
    assert done.stdout.endswith("run.Run'> the real one\n")


def test_another_copy_of_ours_is_not_taken_for_a_real_sdk(tmp_path: Path) -> None:
    copy = tmp_path / "installed"
    shutil.copytree(_MODULES, copy)
    real = install(tmp_path / "real", "core", init=None)

    alone = run_script("from azureml.core import Run; print(Run.__name__)", copy)
    beside = run_script("from azureml.core import Run; print(Run)", copy, real)

    assert (alone.stderr, alone.stdout) == ("", "Run\n")
    assert (beside.stderr, beside.stdout) == ("", "the real one\n")
