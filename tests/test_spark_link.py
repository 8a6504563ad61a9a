"""The link from a task to the pages of its run's Spark application."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from airflow_mltrain import Workspace
from airflow_mltrain.links import SparkApplicationLink
from airflow_mltrain.runs.record import RunRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.airflow


@pytest.fixture
def workspace(airflow_home: Path) -> Workspace:
    airflow_home.mkdir(parents=True, exist_ok=True)
    return Workspace.from_config()


def _link(workspace: Workspace, properties: Mapping[str, str]) -> str:
    run = RunRecord(
        run_id="churn_1",
        experiment="churn",
        target="cluster",
        snapshot_id="0" * 64,
        config={},
        created_at=datetime.now(timezone.utc),
        properties=properties,
    )
    workspace.history.add(run)
    waiting = cast("Any", SimpleNamespace(run_id=run.run_id))
    return SparkApplicationLink().get_link(waiting, ti_key=cast("Any", None))


def test_it_leads_to_the_drivers_pages(workspace: Workspace) -> None:
    assert _link(workspace, {"spark.ui_url": "http://edge:4040"}) == "http://edge:4040"


def test_a_run_that_is_no_spark_application_has_none(workspace: Workspace) -> None:
    assert _link(workspace, {}) == ""
