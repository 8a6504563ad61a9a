"""Choose a model by cross validation on a Spark cluster, through a PySpark script.

The compute target is the id of an Airflow connection of type `spark`, `spark_cluster` unless the
trigger form says otherwise. The driver runs on the edge node that the connection names, or on the
worker; numpy and scikit-learn, which has the data, are installed once and sent to the executors.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator

with DAG(
    dag_id="retrain_on_spark",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "compute_target": Param(
            "spark_cluster",
            type="string",
            title="Compute target",
            description="The id of an Airflow connection of type spark.",
        ),
        "model_path": Param(
            "",
            type="string",
            title="Model path",
            description="A folder that all machines of the cluster share, for the fitted model.",
        ),
        "executor_memory": Param(
            "600m",
            type="string",
            title="Memory of an executor",
            description="No more than a worker has.",
        ),
    },
    tags=["mltrain", "example"],
    doc_md=__doc__,
) as dag:
    train = SubmitTrainingRunOperator(
        task_id="train",
        experiment="digits",
        config={
            "source_directory": str(Path(__file__).parent / "training"),
            "script": "train_digits_on_spark.py",
            "arguments": ["--model-path", "{{ params.model_path }}"],
            "run_config": {
                "target": "{{ params.compute_target }}",
                "framework": "PySpark",
                "environment": {
                    "name": "digits",
                    "python": {"packages": ["numpy==2.2.6", "scikit-learn==1.7.2"]},
                    "spark": {"configuration": {"spark.sql.shuffle.partitions": "4"}},
                },
                "spark": {"executor_memory": "{{ params.executor_memory }}"},
            },
        },
        wait_for_completion=True,
    )

    @task
    def summarize(trained: str) -> dict[str, Any]:
        """How good the best model is, and where its application can be looked at."""
        from airflow_mltrain import Run, Workspace  # noqa: PLC0415 - not while the Dag is parsed

        run = Run.get(Workspace.from_config(), trained)
        accuracy = float(run.get_metrics()["accuracy"])
        application = run.get_details()["properties"].get("spark.application_id", "")
        print(f"{application}: accuracy {accuracy:.3f}")
        return {"accuracy": accuracy, "application": application}

    summarize(train.output)
