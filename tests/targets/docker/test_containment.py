"""What a run can do to its host, and what the engine tells of it to whoever asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from docker import DockerClient

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.registry import connect
from tests.services.docker_engine import DockerEngine
from tests.services.docker_jobs import DockerBench, processes_in
from tests.services.docker_registry import DockerRegistry
from tests.services.jobs import wait_for_log, wait_until_ended
from tests.targets.docker.conftest import ConnectTo

if TYPE_CHECKING:
    import pytest

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget

_SECRETS = ("s3cret-of-run", "s3cret-of-connection", "s3cret-of-registry")
_AGENT = "mltrain-agent-shared"
_HOSTILE = """
cd outputs
ln -s /etc/passwd absolute; ln -s ../../../../etc/passwd relative; ln -s /proc/1/environ environ
ln -s "$OUTSIDE" mount; mkfifo pipe; mknod null c 1 3 && mknod disk b 8 0
ln -s . circle; mkdir -m 0 locked; echo own > own; chmod 4755 own
echo kept > 'new
line'
"""


def test_links_devices_and_pipes_stay_where_they_are(
    target: ComputeTarget, bench: DockerBench, tmp_path: Path
) -> None:
    # given
    (bench.outside / "of the host").write_text("host")
    run_id = bench.shell(target, _HOSTILE)
    assert wait_until_ended(target, run_id).status is RunStatus.COMPLETED
    here = tmp_path / "fetched"
    here.mkdir()

    # when
    left_behind = target.fetch(run_id, here)

    # then
    names = ["absolute", "circle", "disk", "environ", "mount", "null", "pipe", "relative"]
    assert sorted(left_behind) == [f"outputs/{name}" for name in names]
    found = sorted(path.name for path in (here / "outputs").iterdir())
    assert found == ["locked", "new\nline", "own"]
    assert (here / "outputs/own").stat().st_mode & 0o7000 == 0
    assert [path.name for path in bench.outside.iterdir()] == ["of the host"]


def test_nothing_secret_is_in_what_an_engine_or_its_host_shows_of_a_run(
    engine: DockerEngine,
    connect_to: ConnectTo,
    bench: DockerBench,
    client: DockerClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given
    connect_to()
    registry = DockerRegistry("ada", "s3cret-of-registry")
    registry._port = 5000  # noqa: SLF001 - nobody asks it
    told = {
        "image": "mltrain-test/python:3",
        "volume": "shared",
        "network": "host",
        "environment_variables": {"OF_CONNECTION": "s3cret-of-connection"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_ENGINE", engine.connection_json(registry, **told))
    target = connect("engine", settings)

    # when
    script = 'echo "has $OF_RUN $OF_CONNECTION" > outputs/has; echo ready; sleep 1000'
    run_id = bench.shell(target, script, environment_variables={"OF_RUN": "s3cret-of-run"})
    wait_for_log(target, run_id, b"ready")
    shown = [json.dumps(client.api.inspect_container(name)) for name in (run_id, _AGENT)]
    shown += [json.dumps(client.api.top(name)) for name in (run_id, _AGENT)]
    shown += [
        (entry / "cmdline").read_text()
        for name in (run_id, _AGENT)
        for entry in processes_in(client, name)
    ]
    shown += [repr(target), client.api.logs(run_id).decode()]

    # then
    assert [secret for secret in _SECRETS if secret in "\n".join(shown)] == []
    target.cancel(run_id)
    wait_until_ended(target, run_id)


def test_containers_have_an_init_and_no_rights_that_nobody_asked_for(
    connect_to: ConnectTo, bench: DockerBench, client: DockerClient
) -> None:
    # given
    target = connect_to(mounts=None, environment_variables={"OUTSIDE": "/"})

    # when
    run_id = bench.shell(target, "echo ready; sleep 1000")
    wait_for_log(target, run_id, b"ready")
    found = [client.api.inspect_container(name) for name in (run_id, _AGENT)]
    target.cancel(run_id)

    # then
    hosts = [one["HostConfig"] for one in found]
    assert [host["Init"] for host in hosts] == [True, True]
    assert [host["Privileged"] for host in hosts] == [False, False]
    assert [host["Binds"] for host in hosts] == [None, None]
    assert [host["CapAdd"] for host in hosts] == [None, None]
    assert [host["PidMode"] for host in hosts] == ["", ""]
    assert hosts[1]["NetworkMode"] == "none"
    mounts = [[mount["Destination"] for mount in one["Mounts"]] for one in found]
    assert mounts == [["/mltrain"], ["/mltrain"]]
    assert wait_until_ended(target, run_id).status is RunStatus.CANCELED
    assert [one["Config"]["User"] for one in found] == ["0:0", "0:0"]


def test_a_volume_that_is_mounted_read_only_cannot_be_written(
    connect_to: ConnectTo, bench: DockerBench
) -> None:
    # given
    (bench.outside / "data").write_text("data\n")
    target = connect_to(mounts=[f"{bench.outside}:/data:ro"])

    # when
    run_id = bench.shell(target, "cat /data/data; touch /data/mine")
    ended = wait_until_ended(target, run_id)

    # then
    assert ended.status is RunStatus.FAILED
    assert ended.log.startswith(b"data\n")
    assert not (bench.outside / "mine").exists()
