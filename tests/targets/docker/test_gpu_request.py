"""What an engine and its runtime are told of graphics cards: what `docker run` would tell them."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker import DockerClient

from airflow_mltrain.errors import JobStartError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Resources
from airflow_mltrain.targets.docker.config import DockerTargetConfig
from airflow_mltrain.targets.docker.container_description import describe_container
from airflow_mltrain.targets.docker.image import Image
from tests.services.docker_engine import DockerEngine
from tests.services.docker_image import python_image
from tests.services.docker_jobs import DockerBench, forget_engines
from tests.services.jobs import wait_until_ended
from tests.targets.docker.conftest import ConnectTo

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMAGE = "mltrain-test/python:3"
# In place of NVIDIA's runtime: it notes what that one would read, and hands on to runc.
_RUNTIME = """\
#!/bin/sh
folder=$(dirname "$0")
for word in "$@"; do
  [ "$before" = --bundle ] && { cat "$word/config.json"; echo; } >>"$folder/noted"
  before=$word
done
exec runc "$@"
"""


def _devices(
    client: DockerClient, bench: DockerBench, gpus: list[str], resources: Resources
) -> Any:
    """What the engine keeps of the cards that a job's container is to have."""
    config = DockerTargetConfig(gpus=gpus, volume="shared")
    image = Image(str(client.images.get(_IMAGE).id), _IMAGE, "")
    job = bench.unsent_job("true", resources=resources)
    client.api.create_container_from_config(describe_container(config, job, image, {}), job.run_id)
    found = client.api.inspect_container(job.run_id)["HostConfig"]["DeviceRequests"]
    client.api.remove_container(job.run_id)
    return found


@pytest.mark.parametrize("gpus", [["0"], ["1", "GPU-8932f937"]])
def test_cards_are_requested_as_docker_run_requests_them(
    engine: DockerEngine, client: DockerClient, bench: DockerBench, gpus: list[str]
) -> None:
    # given
    command = ["docker", "-H", engine.socket_url, "create", "--gpus", f'"device={",".join(gpus)}"']
    made = subprocess.run(
        [*command, _IMAGE, "true"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    theirs = client.api.inspect_container(made)["HostConfig"]["DeviceRequests"]
    client.api.remove_container(made)

    # when
    ours = _devices(client, bench, gpus, Resources(gpus=1))

    # then
    assert [one["DeviceIDs"] for one in theirs] == [gpus]
    assert ours == [dict(one, Driver="nvidia", Options=None) for one in theirs]


def test_a_run_that_asks_for_no_card_gets_none(client: DockerClient, bench: DockerBench) -> None:
    # when
    found = _devices(client, bench, ["0"], Resources())

    # then
    assert not found


def test_an_engine_that_has_no_toolkit_for_cards_is_said_to_need_it(
    client: DockerClient, connect_to: ConnectTo, bench: DockerBench
) -> None:
    # given
    target = connect_to(gpus=["0"])
    job = bench.job(target, "true", resources=Resources(gpus=1))

    # when, then
    with pytest.raises(JobStartError, match="NVIDIA container toolkit"):
        target.start(job)
    assert client.containers.list(all=True, filters={"name": job.run_id}) == []


@pytest.fixture
def runtime_folder(tmp_path: Path) -> Path:
    """The folder of a runtime, where it notes each container that it makes in `noted`."""
    runtime = tmp_path / "runtime" / "nvidia-container-runtime"
    runtime.parent.mkdir()
    runtime.write_text(_RUNTIME)
    runtime.chmod(0o755)
    return runtime.parent


@pytest.fixture
def engine_with_runtime(runtime_folder: Path) -> Iterator[DockerEngine]:
    """An engine that has it under NVIDIA's name."""
    runtimes = {"nvidia": runtime_folder / "nvidia-container-runtime"}
    with DockerEngine(runtimes=runtimes) as engine:
        with closing(engine.client()) as client:
            python_image(client, _IMAGE)
        yield engine
        forget_engines()


def test_the_runtime_is_told_which_cards_to_show(
    engine_with_runtime: DockerEngine, runtime_folder: Path, connect_to: ConnectTo, tmp_path: Path
) -> None:
    # given
    target = connect_to(engine=engine_with_runtime.socket_url, runtime="nvidia", gpus=["2", "5"])
    with closing(engine_with_runtime.client()) as client:
        bench = DockerBench(tmp_path / "own", client=client)
        bench.outside.chmod(0o777)
        show = 'echo "its own: $CUDA_VISIBLE_DEVICES"'

        # when
        states = [
            wait_until_ended(target, bench.shell(target, show, resources=Resources(gpus=count)))
            for count in (1, 2, 0)
        ]

    # then
    made = [json.loads(line) for line in (runtime_folder / "noted").read_text().splitlines()]
    told = [dict(word.split("=", 1) for word in one["process"]["env"]) for one in made]
    shown = [one["NVIDIA_VISIBLE_DEVICES"] for one in told if "NVIDIA_VISIBLE_DEVICES" in one]
    assert [state.status for state in states] == [RunStatus.COMPLETED] * 3
    assert shown == ["2,5", "2,5", "void"]
    assert [state.log for state in states] == [b"its own: 0\n", b"its own: 0,1\n", b"its own: \n"]
