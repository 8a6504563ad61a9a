"""What Airflow tells nobody of is found by the Dag that looks after runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mltrain.runs.history import RunHistory
from airflow_mltrain.runs.status import RunStatus
from scripts.airflow_stack import AirflowStack
from tests.end_to_end.conftest import runs_of, wait_for

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.slow]
_DAG = "reconcile_training_runs"


def _reconcile(airflow: AirflowStack) -> None:
    dag_run_id = airflow.trigger(_DAG)
    assert airflow.wait_for_dag_run(_DAG, dag_run_id) == "success"


def _abandoned(airflow: AirflowStack) -> int:
    """How many were found so far, also by the Dag runs of each half hour."""
    dag_runs = airflow.api("GET", f"dags/{_DAG}/dagRuns")["dag_runs"]
    found = [airflow.xcom(_DAG, one["dag_run_id"], "reconcile") for one in dag_runs]
    return sum(int(one["abandoned"]) for one in found if one)


def test_the_run_of_a_task_that_failed_before_its_trigger_began_is_canceled(
    airflow: AirflowStack, history: RunHistory, diary: Path
) -> None:
    # given: a task that is marked failed while no triggerer has its trigger
    _reconcile(airflow)
    found_before = _abandoned(airflow)
    airflow.kill("triggerer")
    try:
        conf = {"lines": 1000, "seconds": 300, "diary": str(diary)}
        dag_run_id = airflow.trigger("wait_in_one", conf)
        task = f"dags/wait_in_one/dagRuns/{dag_run_id}/taskInstances/train"
        wait_for("deferral", lambda: airflow.api("GET", task)["state"] == "deferred")
        wait_for("the script", lambda: diary.exists() and diary.read_text())
        airflow.api("PATCH", task, {"new_state": "failed"})
        [forgotten] = runs_of(history, dag_run_id)

        # when
        _reconcile(airflow)
        wait_for("the end of the script", lambda: _is_gone(diary))
        _reconcile(airflow)
    finally:
        airflow.start("triggerer")
        airflow.wait_until_healthy()

    # then
    assert not forgotten.status.is_terminal
    assert _abandoned(airflow) > found_before
    [run] = runs_of(history, dag_run_id)
    assert run.status is RunStatus.CANCELED


def _is_gone(diary: Path) -> bool:
    return not Path(f"/proc/{int(diary.read_text())}").exists()
