"""Try several models at once on an SSH host, and keep the best.

The compute target is the id of an Airflow connection of type `ssh`, `gpu_box` unless the trigger
form says otherwise. Every task hands its worker slot back while its run goes on; how many run at a
time is the host's to say (`max_concurrent_runs`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator

PENALTIES = (0.01, 0.1, 1.0, 10.0)

with DAG(
    dag_id="retrain_on_ssh",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "compute_target": Param(
            "gpu_box",
            type="string",
            title="Compute target",
            description="The id of an Airflow connection of type ssh.",
        ),
    },
    tags=["mltrain", "example"],
    doc_md=__doc__,
) as dag:
    train = SubmitTrainingRunOperator.partial(
        task_id="train",
        experiment="diabetes",
        wait_for_completion=True,
    ).expand(
        config=[
            {
                "source_directory": str(Path(__file__).parent / "training"),
                "script": "train_diabetes.py",
                "arguments": ["--alpha", str(alpha)],
                "run_config": {
                    "target": "{{ params.compute_target }}",
                    "environment": "MLTrain-Scikit-Learn",
                },
            }
            for alpha in PENALTIES
        ]
    )

    @task
    def choose(run_ids: Iterable[str]) -> dict[str, Any]:
        """The run with the smallest error on the rows that no model has seen."""
        from airflow_mltrain import Run, Workspace  # noqa: PLC0415 - not while the Dag is parsed

        workspace = Workspace.from_config()
        runs = [Run.get(workspace, run_id) for run_id in run_ids]
        best = min(runs, key=lambda run: float(run.get_metrics()["rmse"]))
        print(f"best of {len(runs)}: {best.id}, rmse {best.get_metrics()['rmse']:.3f}")
        return {"run_id": best.id, "rmse": best.get_metrics()["rmse"]}

    choose(train.output)
