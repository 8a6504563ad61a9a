"""The run that has an environment built before anybody waits for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_mltrain import runtime
from airflow_mltrain.config.script_run import ScriptRunConfig

if TYPE_CHECKING:
    from airflow_mltrain.config.environment import Environment

ENVIRONMENTS_EXPERIMENT: Final = "environments"
_SCRIPT_FOLDER = Path(runtime.__file__).parent / "environment_check"


def environment_check(
    environment: Environment | str, target: str, *, prepare_timeout_seconds: int | None = None
) -> ScriptRunConfig:
    """A config whose run builds the environment on the target and lists what is in it.

    Submitted in the experiment `ENVIRONMENTS_EXPERIMENT` it leaves later runs nothing to build.
    Without `prepare_timeout_seconds` the limit of every other run counts.
    """
    config = ScriptRunConfig(
        _SCRIPT_FOLDER, "report.py", compute_target=target, environment=environment
    )
    if prepare_timeout_seconds is not None:
        config.run_config.prepare_timeout_seconds = prepare_timeout_seconds
    return config
