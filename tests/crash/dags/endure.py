"""Tasks that wait for runs while everything around them is struck."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator

COUNT = 6  # of each kind
SECONDS = 15.0  # in which a script says what it has to say; then it goes on until it is let go

for is_deferrable in (True, False):
    kind = "deferred" if is_deferrable else "on_worker"
    with DAG(
        f"endure_{kind}", schedule=None, params={"project": "", "diaries": "", "release": ""}
    ):
        wanted: list[dict[str, Any]] = [
            {
                "experiment": f"{kind}-{number}",
                "config": {
                    "source_directory": "{{ params.project }}",
                    "script": "train.py",
                    "arguments": [
                        *(f"{{{{ params.diaries }}}}/{kind}-{number}", str(SECONDS), "0", "0"),
                        "{{ params.release }}",
                    ],
                },
            }
            for number in range(COUNT)
        ]
        SubmitTrainingRunOperator.partial(
            task_id="train",
            wait_for_completion=True,
            deferrable=is_deferrable,
            retries=8,
            retry_delay=timedelta(seconds=1),
        ).expand_kwargs(wanted)
