"""Retrain a diabetes model every week, and keep the better of the new and the last one.

The training script is `training/train_diabetes.py`. The compute target is a parameter of the
trigger form; the model that is kept lies in the artifact store, under the run that made it.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, Variable, task

from airflow_mltrain import ScriptRunConfig
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator
from airflow_mltrain.sensors.training_run import TrainingRunSensor

KEPT_MODEL = "diabetes_model"  # the Airflow variable that names the best run so far

with DAG(
    dag_id="retrain_diabetes",
    schedule="@weekly",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    params={
        "compute_target": Param(
            "local",
            type="string",
            title="Compute target",
            description="`local` for this machine, or an Airflow connection id.",
        ),
        "alpha": Param(1.0, type="number", minimum=0, title="Ridge penalty"),
    },
    tags=["mltrain", "example"],
    doc_md=__doc__,
) as dag:
    submit = SubmitTrainingRunOperator(
        task_id="train",
        experiment="diabetes",
        config=ScriptRunConfig(
            source_directory=Path(__file__).parent / "training",
            script="train_diabetes.py",
            arguments=["--alpha", "{{ params.alpha }}"],
            compute_target="{{ params.compute_target }}",
            environment="MLTrain-Scikit-Learn",
            tags={"dag_run": "{{ run_id }}"},
        ),
    )
    trained = TrainingRunSensor(task_id="wait", run_id=submit.output)

    @task
    def keep_better(run: dict[str, Any]) -> dict[str, Any]:
        """Compare with the last kept model on the same held-out rows; the smaller error wins."""
        new = {"run_id": run["run_id"], "rmse": run["metrics"]["rmse"], "model": run["outputs"]}
        kept = Variable.get(KEPT_MODEL, default=None, deserialize_json=True)
        if kept is not None and kept["rmse"] <= new["rmse"]:
            print(f"kept {kept['run_id']}: rmse {kept['rmse']:.3f}, new {new['rmse']:.3f}")
            return kept
        Variable.set(KEPT_MODEL, new, serialize_json=True)
        print(f"{new['run_id']} is the model now: rmse {new['rmse']:.3f}")
        return new

    keep_better(trained.output)
