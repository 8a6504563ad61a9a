"""Engines that do not answer, or refuse what the connection asks for: each is said in words."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker import DockerClient

from airflow_mltrain.errors import ConfigurationError, JobStartError, TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Seen
from airflow_mltrain.targets.registry import connect
from tests.services.docker_engine import DockerEngine
from tests.services.docker_jobs import DockerBench
from tests.services.jobs import wait_until_ended
from tests.targets.docker.conftest import ConnectTo

if TYPE_CHECKING:
    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget

# Docker's client leaves a socket open that it could not connect.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    yield
    gc.collect()


def _tls(engine: DockerEngine, whose: str = "", authority: str = "ca.pem") -> dict[str, Any]:
    folder = engine.tls_folder
    return {
        "engine": engine.tls_url,
        "tls_ca": str(folder / authority),
        "tls_cert": str(folder / f"{whose}cert.pem"),
        "tls_key": str(folder / f"{whose}key.pem"),
    }


def test_a_whole_run_goes_over_tls_whatever_the_environment_says_of_certificates(
    engine: DockerEngine,
    connect_to: ConnectTo,
    bench: DockerBench,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # given
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")
    target = connect_to(**_tls(engine))

    # when
    script = "open('outputs/model', 'wb').write(b'x' * 3_000_000); print('y' * 1_000_000)"
    run_id = bench.python(target, script)
    ended = wait_until_ended(target, run_id)
    (tmp_path / "fetched").mkdir()
    target.fetch(run_id, tmp_path / "fetched")

    # then
    assert (ended.status, len(ended.log)) == (RunStatus.COMPLETED, 1_000_001)
    assert (tmp_path / "fetched/outputs/model").stat().st_size == 3_000_000


def test_a_run_on_one_transport_is_the_same_on_the_other(
    engine: DockerEngine, connect_to: ConnectTo, bench: DockerBench
) -> None:
    # given
    by_socket, by_tls = connect_to(), connect_to(**_tls(engine))

    # when
    run_id = bench.shell(by_socket, "echo hello")

    # then
    assert by_socket.place == by_tls.place
    assert wait_until_ended(by_tls, run_id).log == b"hello\n"


@pytest.mark.parametrize(
    ("whose", "authority"), [("stranger-", "ca.pem"), ("", "stranger-ca.pem")]
)
def test_certificates_that_one_side_refuses_are_said_to_be_the_cause(
    engine: DockerEngine, connect_to: ConnectTo, whose: str, authority: str
) -> None:
    # given
    target = connect_to(**_tls(engine, whose, authority))

    # when, then
    with pytest.raises(TargetUnreachableError, match=r"'engine'.*certificates.*tls_ca"):
        target.observe({"run-1": Seen()}, 0)


def test_an_engine_that_speaks_tls_says_so_to_whoever_does_not(
    engine: DockerEngine, connect_to: ConnectTo
) -> None:
    # when, then
    with pytest.raises(TargetUnreachableError, match=r"'engine'.*speaks TLS: give tls_ca"):
        connect_to(engine=engine.tls_url).observe({"run-1": Seen()}, 0)


def test_a_certificate_that_is_not_there_is_named(
    engine: DockerEngine, connect_to: ConnectTo
) -> None:
    # given
    target = connect_to(**_tls(engine, "nobodys-"))

    # when, then
    with pytest.raises((ConfigurationError, TargetUnreachableError), match="tls_ca, tls_cert"):
        target.observe({"run-1": Seen()}, 0)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("unix:///nowhere/docker.sock", "there is no Docker engine at unix:///nowhere.*start it"),
        ("tcp://127.0.0.1:9", "nothing listens at tcp://127.0.0.1:9"),
    ],
)
def test_an_engine_that_is_not_there_is_named_with_what_to_do(
    connect_to: ConnectTo, url: str, words: str
) -> None:
    # given
    target = connect_to(engine=url)

    # when, then
    with pytest.raises(TargetUnreachableError, match=f"'engine'.*{words}"):
        target.observe({"run-1": Seen()}, 0)


def test_a_user_who_may_not_use_the_socket_is_told_which_group_may(
    engine: DockerEngine, connect_to: ConnectTo, settings: Settings
) -> None:
    # given
    connect_to()
    folder = Path(engine.socket_url.removeprefix("unix://")).parent
    folder.chmod(0o711)
    child = os.fork()
    if not child:  # root may use any socket
        os.setgid(1000)
        os.setuid(1000)
        try:
            connect("engine", settings).observe({"run-1": Seen()}, 0)
        except TargetUnreachableError as error:
            os._exit(0 if "add it to the group" in str(error) else 1)
        finally:
            os._exit(2)

    # when
    status = os.waitpid(child, 0)[1]
    folder.chmod(0o700)

    # then
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"network": "no-such-network"}, "no-such-network.*see `network`"),
        ({"runtime": "no-such-runtime"}, "no-such-runtime"),
        ({"mounts": ["/no/such/folder:/data"]}, "/no/such/folder"),
        ({"memory": "1m"}, "[Mm]emory"),
        ({"cpus": 100_000}, "CPU"),
    ],
)
def test_what_the_engine_refuses_is_named_and_nothing_is_left(
    target: ComputeTarget,
    connect_to: ConnectTo,
    bench: DockerBench,
    client: DockerClient,
    asked: dict[str, Any],
    words: str,
) -> None:
    # given
    job = bench.job(target, "true")

    # when
    with pytest.raises((JobStartError, ConfigurationError), match=words):
        connect_to(**asked).start(job)

    # then
    assert job.run_id not in target.observe({job.run_id: Seen()}, 0)
    assert client.containers.list(all=True, filters={"name": job.run_id}) == []
