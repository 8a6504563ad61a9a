"""Kills while a job is in a container: of what is out here, what is in there, and the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.crash import victim
from tests.crash.campaign import Campaign
from tests.crash.ground import Ground
from tests.crash.script import Story
from tests.services.docker_engine import DockerEngine
from tests.services.docker_image import python_image

if TYPE_CHECKING:
    from tests.crash.conftest import ShowTable
    from tests.services.postgresql import PostgresqlServer

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

_IMAGE = "mltrain-test/python:3"
_LASTING = Story(seconds=3)  # an engine that is struck elsewhere is waited for


@pytest.fixture
def ground(tmp_path: Path, postgresql: PostgresqlServer) -> Iterator[Ground]:
    diaries = tmp_path / "diaries"
    diaries.mkdir()
    diaries.chmod(0o777)
    with DockerEngine(live_restore=True) as engine:
        with closing(engine.client()) as client:
            python_image(client, _IMAGE)
        connection = engine.connection_json(
            image=_IMAGE, network="host", mounts=[f"{diaries}:{diaries}"]
        )
        yield Ground(
            "docker",
            tmp_path,
            postgresql.create_database(),
            "engine",
            {"AIRFLOW_CONN_ENGINE": connection},
            diaries,
            {"engine": engine},
        )


def test_no_kill_outside_or_inside_a_container_doubles_or_loses_anything(
    ground: Ground, show: ShowTable
) -> None:
    # given
    campaign = Campaign(ground)
    rehearsal = campaign.rehearse()
    followed = rehearsal.find("submit", "progress.follow > stream")
    inside = (
        victim.CONTAINER_KILLED,
        victim.CONTAINED_SUPERVISOR_KILLED,
        victim.CONTAINED_AGENT_KILLED,
        victim.AGENT_CONTAINER_KILLED,
    )
    plots = chain(
        campaign.at_steps(rehearsal, victim.TASK_KILLED, "submit", most=20),
        campaign.at_random(rehearsal, victim.TASK_TERMINATED, "submit", 1),
        campaign.at_steps(rehearsal, victim.ENGINE_KILLED, "submit", most=4),
        *(campaign.at(followed, one, "submit", 4, story=_LASTING) for one in inside),
    )

    # when
    campaign.run(plots)

    # then
    show(campaign, fewest=25)
    assert campaign.table.faults == []
