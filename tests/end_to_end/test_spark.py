"""The example for a Spark cluster, through a real scheduler and triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from tests.end_to_end.conftest import runs_of

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.runs.history import RunHistory
    from scripts.airflow_stack import AirflowStack
    from tests.services.spark_cluster import SparkCluster

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.slow]

_DAG = "retrain_on_spark"


def test_the_example_chooses_a_model_on_the_cluster(
    airflow: AirflowStack, spark_cluster: SparkCluster, history: RunHistory, tmp_path: Path
) -> None:
    # when
    dag_run_id = airflow.trigger(_DAG, {"model_path": str(tmp_path)})
    state = airflow.wait_for_dag_run(_DAG, dag_run_id)

    # then
    assert state == "success", airflow.task_log(_DAG, dag_run_id, "train")
    [run] = runs_of(history, dag_run_id)
    assert run.status is RunStatus.COMPLETED
    assert run.properties["spark.application_id"].startswith("app-")
    assert (tmp_path / run.run_id / "stages").is_dir()
    assert run.tags["model"] == str(tmp_path / run.run_id)
    log = airflow.task_log(_DAG, dag_run_id, "train")
    assert f"on {spark_cluster.master_url}" in log
    assert "[mltrain] Spark job " in log
    told = airflow.xcom(_DAG, dag_run_id, "summarize")
    assert told["application"] == run.properties["spark.application_id"]
    assert told["accuracy"] > 0.85
