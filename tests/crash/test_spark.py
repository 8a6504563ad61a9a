"""Kills while a driver runs on a Spark cluster."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash import victim
from tests.crash.campaign import Campaign
from tests.crash.ground import Ground
from tests.services.spark_cluster import SparkCluster

if TYPE_CHECKING:
    from tests.crash.conftest import ShowTable
    from tests.services.postgresql import PostgresqlServer

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def ground(tmp_path: Path, postgresql: PostgresqlServer) -> Iterator[Ground]:
    with SparkCluster(workers=1) as cluster:
        yield Ground(
            "spark",
            tmp_path,
            postgresql.create_database(),
            "cluster",
            {"AIRFLOW_CONN_CLUSTER": cluster.connection_json()},
        )


def test_no_kill_of_a_task_doubles_or_loses_anything(ground: Ground, show: ShowTable) -> None:
    # given
    campaign = Campaign(ground)
    rehearsal = campaign.rehearse()
    started = rehearsal.find("submit", "history.advance > do_commit")
    plots = chain(
        campaign.at_steps(rehearsal, victim.TASK_KILLED, "submit", most=6),
        campaign.at_random(rehearsal, victim.TASK_TERMINATED, "submit", 1),
        campaign.at(started, victim.SUPERVISOR_KILLED, "submit", 1),
    )

    # when
    campaign.run(plots)

    # then
    show(campaign, fewest=6)
    assert campaign.table.faults == []
