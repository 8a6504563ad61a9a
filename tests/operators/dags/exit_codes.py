"""A task for each thing that an exit code may mean; as a program the Dag runs once."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, BaseOperator

from airflow_mltrain import ScriptRunConfig
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator
from airflow_mltrain.sensors.training_run import TrainingRunSensor

_PREEMPTED_TWICE = """
n=$(cat ../previous_outputs/n 2>/dev/null)
echo "x$n" > outputs/n
[ "$n" = xx ] || exit 75
"""


def _config(command: str) -> ScriptRunConfig:
    config = ScriptRunConfig(os.environ["PROJECT"], command=["sh", "-c", command])
    config.run_config.exit_code_policy = {
        2: "fail",
        3: "skip",
        4: "retry",
        75: "preempted",
    }
    return config


def _submit(task_id: str, command: str, **facts: object) -> BaseOperator:
    facts = {"wait_for_completion": True, "deferrable": False, **facts}
    return SubmitTrainingRunOperator(
        task_id=task_id,
        experiment="codes",
        config=_config(command),
        retry_delay=timedelta(0),
        **facts,  # type: ignore[arg-type]
    )


with DAG("exit_codes", schedule=None) as dag:
    _submit("fails", "exit 2", retries=2)
    _submit("skips", "exit 3", retries=2)
    _submit("retries", "exit 4", retries=1)
    _submit("is_unnamed", "exit 5", retries=1)
    _submit("is_preempted", _PREEMPTED_TWICE)
    _submit("is_preempted_deferred", _PREEMPTED_TWICE, deferrable=True)
    submitted = _submit("submits", _PREEMPTED_TWICE, wait_for_completion=False)
    TrainingRunSensor(task_id="senses", run_id=submitted.output, deferrable=False)
    TrainingRunSensor(task_id="senses_deferred", run_id=submitted.output)
    skipping = _submit("submits_skipping", "exit 3", wait_for_completion=False)
    TrainingRunSensor(task_id="senses_skip", run_id=skipping.output, deferrable=False)

if __name__ == "__main__":
    ended = dag.test()
    attempts = {one.task_id: [one.state, one.try_number] for one in ended.get_task_instances()}
    Path(sys.argv[1]).write_text(json.dumps(attempts))
