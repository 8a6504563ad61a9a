"""A volume without room: each step says so, and the next one works when there is some again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from docker import DockerClient

from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from tests.services.docker_jobs import DockerBench, DockerPlace
from tests.services.jobs import wait_until_ended
from tests.targets.docker.conftest import ConnectTo

if TYPE_CHECKING:
    from airflow_mltrain.targets.base import ComputeTarget

_VOLUME_MEGABYTES = 16
_FILL = """
with open("outputs/model", "wb", buffering=0) as file:
    while True:
        file.write(bytes(1 << 20))
"""


@pytest.fixture
def small_target(
    connect_to: ConnectTo, place: DockerPlace, client: DockerClient, bench: DockerBench
) -> ComputeTarget:
    """A target whose volume is a small disk; the job agent is there already."""
    options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={_VOLUME_MEGABYTES}m"}
    client.volumes.create(place.volume, driver="local", driver_opts=options)
    target = connect_to(volume=place.volume)
    wait_until_ended(target, bench.shell(target, "true"))
    return target


def test_code_that_does_not_fit_is_refused_and_less_of_it_runs(
    small_target: ComputeTarget, bench: DockerBench
) -> None:
    # given
    large = bench.unsent_job("true", files={"data": os.urandom(_VOLUME_MEGABYTES << 19).hex()})

    # when
    with pytest.raises(TargetUnreachableError, match="No space left"):
        bench.send(small_target, large)
    run_id = bench.shell(small_target, "echo hello")

    # then
    ended = wait_until_ended(small_target, run_id)
    assert (ended.status, ended.log) == (RunStatus.COMPLETED, b"hello\n")


def test_a_script_that_fills_the_volume_fails_with_its_own_words_and_leaves_room_when_it_goes(
    small_target: ComputeTarget, bench: DockerBench
) -> None:
    # given
    run_id = bench.python(small_target, _FILL)

    # when
    ended = wait_until_ended(small_target, run_id)
    refused = bench.unsent_job("true", files={"data": os.urandom(1 << 20).hex()})
    with pytest.raises(TargetUnreachableError, match="No space left"):
        bench.send(small_target, refused)
    (fetched := bench.folder / "fetched").mkdir()
    small_target.fetch(run_id, fetched)
    small_target.discard(run_id)
    next_run = wait_until_ended(small_target, bench.shell(small_target, "echo hello"))

    # then
    assert (ended.status, ended.exit_code) == (RunStatus.FAILED, 1)
    assert ended.reason is not None
    assert "no space is left" in ended.reason
    assert (fetched / "outputs/model").stat().st_size > 1 << 20
    assert (next_run.status, next_run.log) == (RunStatus.COMPLETED, b"hello\n")
