"""Dags whose tasks are given up, each in one of the ways there are: on a worker and deferred."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from airflow_mltrain import ScriptRunConfig
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator
from airflow_mltrain.sensors.training_run import TrainingRunSensor

_SCRIPTS = Path(__file__).parents[1] / "scripts"
_PARAMS: dict[str, Any] = {"seconds": 300, "diary": "/dev/null", "release": ""}
_ARGUMENTS = [
    "--lines",
    "100",
    "--seconds",
    "{{ params.seconds }}",
    "--diary",
    "{{ params.diary }}",
    "--release",
    "{{ params.release }}",
]
_SECONDS = timedelta(seconds=20)
_OPTIONS: dict[str, dict[str, Any]] = {
    "goes_on": {"retries": 1, "retry_delay": timedelta(seconds=1)},
    "last_try": {},
    "task_times_out": {"execution_timeout": _SECONDS},
    "runs_too_long": {},
    "dag_run_times_out": {},
}


def _config(**run_config: Any) -> dict[str, Any]:
    config = ScriptRunConfig(_SCRIPTS, "count.py", _ARGUMENTS).model_dump(mode="json")
    config["run_config"].update(run_config)
    return config


for is_deferrable in (True, False):
    kind = "deferred" if is_deferrable else "on_worker"
    for name, options in _OPTIONS.items():
        limit = 2 * _SECONDS if name == "dag_run_times_out" else None
        with DAG(f"{name}_{kind}", params=_PARAMS, schedule=None, dagrun_timeout=limit):
            SubmitTrainingRunOperator(
                task_id="train",
                experiment="giving_up",
                config=_config(
                    max_run_duration_seconds=8 if name == "runs_too_long" else None,
                ),
                wait_for_completion=True,
                deferrable=is_deferrable,
                **options,
            )
    with DAG(f"sensor_times_out_{kind}", params=_PARAMS, schedule=None):
        submit = SubmitTrainingRunOperator(
            task_id="submit", experiment="giving_up", config=_config()
        )
        TrainingRunSensor(
            task_id="train", run_id=submit.output, deferrable=is_deferrable, timeout=8
        )
