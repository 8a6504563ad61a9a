"""Submit machine-learning training scripts to compute targets, from Airflow or plain Python.

Importing this package imports nothing else; each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_mltrain.config.docker_section import DockerBuildContext
    from airflow_mltrain.config.environment import Environment
    from airflow_mltrain.config.run_configuration import RunConfiguration
    from airflow_mltrain.config.script_run import ScriptRunConfig
    from airflow_mltrain.config.secret_reference import SecretReference
    from airflow_mltrain.experiment import Experiment
    from airflow_mltrain.run import Run
    from airflow_mltrain.runs.status import RunStatus
    from airflow_mltrain.workspace import Workspace

__all__ = [
    "DockerBuildContext",
    "Environment",
    "Experiment",
    "Run",
    "RunConfiguration",
    "RunStatus",
    "ScriptRunConfig",
    "SecretReference",
    "Workspace",
]
__version__ = "0.1.0"

_HOMES = {
    "DockerBuildContext": "airflow_mltrain.config.docker_section",
    "Environment": "airflow_mltrain.config.environment",
    "Experiment": "airflow_mltrain.experiment",
    "Run": "airflow_mltrain.run",
    "RunConfiguration": "airflow_mltrain.config.run_configuration",
    "RunStatus": "airflow_mltrain.runs.status",
    "ScriptRunConfig": "airflow_mltrain.config.script_run",
    "SecretReference": "airflow_mltrain.config.secret_reference",
    "Workspace": "airflow_mltrain.workspace",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
