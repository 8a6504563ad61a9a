"""Where the pages of a run's Spark application are."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.spark_pages import find_spark_pages
from airflow_mltrain.runs.status import RunStatus

_DRIVER, _HISTORY = "http://edge:4040", "https://history:18080/history/app-1/"
_BOTH = {"spark.ui_url": _DRIVER, "spark.history_url": _HISTORY}


@pytest.mark.parametrize(
    ("status", "properties", "expected"),
    [
        (RunStatus.RUNNING, _BOTH, _DRIVER),
        (RunStatus.COMPLETED, _BOTH, _HISTORY),
        (RunStatus.COMPLETED, {"spark.ui_url": _DRIVER}, _DRIVER),
        (RunStatus.RUNNING, {}, ""),
        (RunStatus.RUNNING, {"spark.ui_url": "javascript:alert(1)"}, ""),
    ],
)
def test_they_are_the_drivers_while_it_runs_and_then_the_history_servers(
    status: RunStatus, properties: dict[str, str], expected: str
) -> None:
    run = RunRecord(
        run_id="churn_1",
        experiment="churn",
        target="cluster",
        snapshot_id="0" * 64,
        config={},
        created_at=datetime.now(timezone.utc),
        status=status,
        properties=properties,
    )

    assert find_spark_pages(run) == expected
