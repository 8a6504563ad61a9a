"""Kills and broken connections while a job is on a host over SSH."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash import victim
from tests.crash.campaign import Campaign
from tests.crash.ground import Ground
from tests.crash.script import Story
from tests.services.ssh_host import SshHost

if TYPE_CHECKING:
    from tests.crash.conftest import ShowTable
    from tests.services.postgresql import PostgresqlServer

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

_LASTING = Story(seconds=1.5)


@pytest.fixture
def ground(tmp_path: Path, postgresql: PostgresqlServer) -> Iterator[Ground]:
    with SshHost() as host:
        yield Ground(
            "ssh",
            tmp_path,
            postgresql.create_database(),
            "box",
            {"AIRFLOW_CONN_BOX": host.connection_json()},
            host.make_shared_folder(),
        )


def test_no_kill_and_no_break_of_a_connection_doubles_or_loses_anything(
    ground: Ground, show: ShowTable
) -> None:
    # given
    campaign = Campaign(ground)
    rehearsal = campaign.rehearse()
    plots = chain(
        campaign.at_steps(rehearsal, victim.TASK_KILLED, "submit", most=40),
        campaign.at_random(rehearsal, victim.TASK_TERMINATED, "submit", 2),
        campaign.at_steps(rehearsal, victim.SSH_CUT, "submit", most=10),
        campaign.at_steps(rehearsal, victim.AGENT_KILLED, "submit", most=10),
    )

    # when
    campaign.run(plots)

    # then
    show(campaign, fewest=45)
    assert campaign.table.faults == []


def test_no_kill_of_a_triggerer_doubles_or_loses_anything(ground: Ground, show: ShowTable) -> None:
    # given
    campaign = Campaign(ground, is_deferrable=True)
    rehearsal = campaign.rehearse(_LASTING)
    plots = chain(
        campaign.at_random(rehearsal, victim.TRIGGERER_KILLED, "watch", 4, story=_LASTING),
        campaign.at_random(rehearsal, victim.SSH_CUT, "watch", 4, story=_LASTING),
    )

    # when
    campaign.run(plots)

    # then
    show(campaign, fewest=5)
    assert campaign.table.faults == []
