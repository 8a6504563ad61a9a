"""Submit machine-learning training scripts to compute targets, from Airflow or plain Python.

Importing this package imports nothing else; each name is loaded when it is first used. Names of
Azure ML's SDK that are not here can be imported too, and say so when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_mltrain.config.conda_dependencies import CondaDependencies
    from airflow_mltrain.config.docker_configuration import DockerConfiguration
    from airflow_mltrain.config.docker_section import DockerBuildContext
    from airflow_mltrain.config.environment import Environment
    from airflow_mltrain.config.estimator import Chainer, Estimator, PyTorch, SKLearn, TensorFlow
    from airflow_mltrain.config.run_configuration import RunConfiguration
    from airflow_mltrain.config.script_run import ScriptRunConfig
    from airflow_mltrain.config.secret_reference import SecretReference
    from airflow_mltrain.experiment import Experiment
    from airflow_mltrain.run import Run, ScriptRun
    from airflow_mltrain.run_details import RunDetails
    from airflow_mltrain.runs.status import RunStatus
    from airflow_mltrain.workspace import Workspace

__all__ = [
    "Chainer",
    "CondaDependencies",
    "DockerBuildContext",
    "DockerConfiguration",
    "Environment",
    "Estimator",
    "Experiment",
    "PyTorch",
    "Run",
    "RunConfiguration",
    "RunDetails",
    "RunStatus",
    "SKLearn",
    "ScriptRun",
    "ScriptRunConfig",
    "SecretReference",
    "TensorFlow",
    "Workspace",
]
__version__ = "0.1.0"

_HOMES = {
    "Chainer": "airflow_mltrain.config.estimator",
    "CondaDependencies": "airflow_mltrain.config.conda_dependencies",
    "DockerBuildContext": "airflow_mltrain.config.docker_section",
    "DockerConfiguration": "airflow_mltrain.config.docker_configuration",
    "Environment": "airflow_mltrain.config.environment",
    "Estimator": "airflow_mltrain.config.estimator",
    "Experiment": "airflow_mltrain.experiment",
    "PyTorch": "airflow_mltrain.config.estimator",
    "Run": "airflow_mltrain.run",
    "RunConfiguration": "airflow_mltrain.config.run_configuration",
    "RunDetails": "airflow_mltrain.run_details",
    "RunStatus": "airflow_mltrain.runs.status",
    "SKLearn": "airflow_mltrain.config.estimator",
    "ScriptRun": "airflow_mltrain.run",
    "ScriptRunConfig": "airflow_mltrain.config.script_run",
    "SecretReference": "airflow_mltrain.config.secret_reference",
    "TensorFlow": "airflow_mltrain.config.estimator",
    "Workspace": "airflow_mltrain.workspace",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name[:1].isupper():
        from airflow_mltrain.absent import find_absent  # noqa: PLC0415 - seldom needed

        if (absent := find_absent(name)) is not None:
            return absent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
