"""Dags that submit `count.py`, each in one of the ways a Dag author may."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from airflow_mltrain import ScriptRunConfig
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator
from airflow_mltrain.sensors.training_run import TrainingRunSensor

SCRIPTS = Path(__file__).parents[1] / "scripts"
ARGUMENTS = [
    "--lines",
    "{{ params.lines }}",
    "--seconds",
    "{{ params.seconds }}",
    "--exit-code",
    "{{ params.exit_code }}",
    "--diary",
    "{{ params.diary }}",
    "--release",
    "{{ params.release }}",
    "--say",
    "{{ task.task_id }} of {{ dag.dag_id }}",
]
PARAMS: dict[str, Any] = {
    "lines": 3,
    "seconds": 0,
    "exit_code": 0,
    "diary": "/dev/null",
    "release": "",
}


def _config(**more: Any) -> ScriptRunConfig:
    return ScriptRunConfig(SCRIPTS, "count.py", ARGUMENTS, **more)


with DAG("submit_and_wait", params=PARAMS, schedule=None):
    submit = SubmitTrainingRunOperator(task_id="submit", experiment="counting", config=_config())
    TrainingRunSensor(task_id="wait", run_id=submit.output)

with DAG("submit_and_poke", params=PARAMS, schedule=None):
    submitted = SubmitTrainingRunOperator(
        task_id="submit", experiment="counting", config=_config()
    )
    TrainingRunSensor(task_id="wait", run_id=submitted.output, deferrable=False, poke_interval=0.5)

with DAG("wait_in_one", params=PARAMS, schedule=None):
    SubmitTrainingRunOperator(
        task_id="train",
        experiment="counting",
        config=_config(),
        wait_for_completion=True,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )

with DAG("wait_on_worker", params=PARAMS, schedule=None):
    SubmitTrainingRunOperator(
        task_id="train",
        experiment="counting",
        config=_config(),
        wait_for_completion=True,
        deferrable=False,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )

with DAG("wait_for_host", params={**PARAMS, "target": "gpu_box"}, schedule=None):
    SubmitTrainingRunOperator(
        task_id="train",
        experiment="counting",
        config=_config(compute_target="{{ params.target }}"),
        wait_for_completion=True,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )

with DAG("time_out", params=PARAMS, schedule=None):
    SubmitTrainingRunOperator(
        task_id="train",
        experiment="counting",
        config=_config(),
        wait_for_completion=True,
        execution_timeout=timedelta(seconds=10),
    )

with DAG("fan_out", params=PARAMS, schedule=None, max_active_tasks=64):

    @task
    def configs() -> list[dict[str, Any]]:
        """Thirty configs, as a task would compute them."""
        return [
            {
                "source_directory": str(SCRIPTS),
                "script": "count.py",
                "arguments": ["--lines", "2", "--say", f"number {number} in {{{{ run_id }}}}"],
                "tags": {"number": number},
            }
            for number in range(30)
        ]

    SubmitTrainingRunOperator.partial(
        task_id="train", experiment="fan", wait_for_completion=True
    ).expand(config=configs())

with DAG("expand_configs", params=PARAMS, schedule=None):
    SubmitTrainingRunOperator.partial(
        task_id="train", experiment="expanded", wait_for_completion=True
    ).expand(
        config=[
            {
                "source_directory": str(SCRIPTS),
                "script": "count.py",
                "arguments": ["--lines", lines, "--say", "{{ ti.map_index }} mapped"],
            }
            for lines in (1, 2)
        ]
    )
