"""An engine that is reached through an sshd, as `ssh://` has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.base import Seen
from airflow_mltrain.targets.registry import connect
from tests.services.docker_engine import DockerEngine
from tests.services.docker_jobs import DockerBench, DockerPlace, forget_engines
from tests.services.jobs import wait_for_log, wait_until_ended
from tests.services.ssh_host import SshHost


@pytest.fixture(scope="module")
def host(engine: DockerEngine) -> Iterator[SshHost]:
    """Its user may use the engine, which its docker command knows."""
    socket = Path(engine.socket_url.removeprefix("unix://"))
    socket.parent.chmod(0o711)
    socket.chmod(0o666)
    told = f"export DOCKER_HOST={engine.socket_url}\n"
    with SshHost(own_processes=False, bashrc=told) as host:
        yield host
        forget_engines()
    socket.parent.chmod(0o700)


@pytest.fixture
def home(host: SshHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of somebody who may log in there, and knows the host."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text(f"Host *\n IdentityFile {host.private_key_file}\n")
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{host.port} {host.host_key}\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


def _url(host: SshHost) -> str:
    return f"ssh://{host.user}@127.0.0.1:{host.port}"


@pytest.mark.usefixtures("home")
def test_runs_go_through_sshd_with_few_of_the_channels_that_it_allows(
    host: SshHost,
    place: DockerPlace,
    bench: DockerBench,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given
    monkeypatch.setenv("AIRFLOW_CONN_FAR", place.connection_json(engine=_url(host)))
    target = connect("far", settings)

    # when
    run_ids = [bench.shell(target, f"echo hello {number}") for number in range(6)]
    lasting = bench.shell(target, "echo ready; sleep 1000")
    wait_for_log(target, lasting, b"ready")
    target.cancel(lasting)

    # then
    ended = [wait_until_ended(target, run_id) for run_id in run_ids]
    assert [state.log for state in ended] == [b"hello %d\n" % number for number in range(6)]
    assert wait_until_ended(target, lasting).status is RunStatus.CANCELED
    assert host.logins() <= 2


def test_a_host_that_nobody_knows_is_refused_in_words(
    host: SshHost,
    home: Path,
    place: DockerPlace,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given
    forget_engines()
    (home / ".ssh" / "known_hosts").unlink()
    monkeypatch.setenv("AIRFLOW_CONN_FAR", place.connection_json(engine=_url(host)))

    # when, then
    with pytest.raises(TargetUnreachableError, match=r"'far'.*not found in known_hosts"):
        connect("far", settings).observe({"run-1": Seen()}, 0)
    assert os.environ["HOME"] == str(home)
