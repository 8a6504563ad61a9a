"""Train in containers of a Docker engine, on several parts of the data at once.

The compute target is the id of an Airflow connection of type `docker`, `docker_engine` unless the
trigger form says otherwise. The image is built there from a Dockerfile, the packages are installed
beside it, both once and before the first model is trained. Each model holds other rows out: how
much their errors differ shows how far one of them is to be trusted.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_mltrain.operators.build_environment import BuildEnvironmentOperator
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator

SEEDS = (0, 1, 2)
DOCKERFILE = """\
FROM {{ params.image }}
ENV OMP_NUM_THREADS=1
"""
ENVIRONMENT = {
    "name": "diabetes",
    "python": {"packages": ["scikit-learn==1.7.2"]},
    "docker": {"base_dockerfile": DOCKERFILE},
}

with DAG(
    dag_id="retrain_in_docker",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "compute_target": Param(
            "docker_engine",
            type="string",
            title="Compute target",
            description="The id of an Airflow connection of type docker.",
        ),
        "image": Param(
            "python:3.12-slim",
            type="string",
            title="Image",
            description="What the Dockerfile begins with: any image with Python 3.10 or newer.",
        ),
    },
    tags=["mltrain", "example"],
    doc_md=__doc__,
) as dag:
    build = BuildEnvironmentOperator(
        task_id="build",
        environment=ENVIRONMENT,
        compute_target="{{ params.compute_target }}",
    )
    train = SubmitTrainingRunOperator.partial(
        task_id="train",
        experiment="diabetes",
        wait_for_completion=True,
    ).expand(
        config=[
            {
                "source_directory": str(Path(__file__).parent / "training"),
                "script": "train_diabetes.py",
                "arguments": ["--seed", str(seed)],
                "run_config": {
                    "target": "{{ params.compute_target }}",
                    "environment": ENVIRONMENT,
                    "resources": {"cpus": 1, "memory": "1g"},
                },
            }
            for seed in SEEDS
        ]
    )

    @task
    def summarize(run_ids: Iterable[str]) -> dict[str, Any]:
        """How large the error is, and how much of that is chance."""
        from airflow_mltrain import Run, Workspace  # noqa: PLC0415 - not while the Dag is parsed

        workspace = Workspace.from_config()
        runs = [Run.get(workspace, run_id) for run_id in run_ids]
        errors = [float(run.get_metrics()["rmse"]) for run in runs]
        print(f"rmse {mean(errors):.3f}, give or take {stdev(errors):.3f}, in {len(runs)} runs")
        return {"run_ids": [run.id for run in runs], "rmse": mean(errors)}

    build >> train
    summarize(train.output)
