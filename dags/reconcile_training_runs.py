"""Look after the training runs that nobody watches, every half hour.

A run goes on when the processes that watched it are gone for good: its submitter was killed and
no retry came, or its task was marked failed in a moment in which Airflow had nobody to tell. This
asks every compute target what has become of such runs, fetches what they left, and stops those
whose task was given up.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.sdk import DAG, Param

from airflow_mltrain.operators.reconcile_training_runs import ReconcileTrainingRunsOperator

with DAG(
    dag_id="reconcile_training_runs",
    schedule=timedelta(minutes=30),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 1, "retry_delay": timedelta(minutes=1)},
    params={
        "compute_targets": Param(
            ["local"],
            type="array",
            items={"type": "string"},
            title="Compute targets",
            description="Whose jobs are compared with the run history, beside those in use.",
        ),
    },
    render_template_as_native_obj=True,
    tags=["mltrain", "example"],
    doc_md=__doc__,
):
    ReconcileTrainingRunsOperator(
        task_id="reconcile",
        compute_targets="{{ params.compute_targets }}",
        cancel_abandoned=True,
    )
