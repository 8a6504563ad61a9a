"""The Docker engine that tests use is a real one, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from ipaddress import IPv4Network
from pathlib import Path

import docker
import pytest
from airflow.providers.docker.hooks.docker import DockerHook

from tests.services.docker_engine import DockerEngine
from tests.services.docker_ground import is_alive
from tests.services.docker_image import bare_image
from tests.services.docker_registry import DockerRegistry
from tests.services.jobs import wait_for

_OUTLIVE = """
import time
from contextlib import closing
from tests.services.docker_engine import DockerEngine
from tests.services.docker_image import bare_image

with DockerEngine() as engine, closing(engine.client()) as client:
    bare_image(client, "bare:1")
    client.containers.run("bare:1", ["sleep", "1000"], detach=True)
    print(engine.name, engine.network, flush=True)
    time.sleep(1000)
"""


@pytest.fixture(scope="module")
def registry() -> Iterator[DockerRegistry]:
    with DockerRegistry("ada", "correct horse") as registry:
        yield registry


def _with_certificate(engine: DockerEngine, whose: str) -> docker.TLSConfig:
    folder = engine.tls_folder
    return docker.TLSConfig(
        client_cert=(f"{folder}/{whose}cert.pem", f"{folder}/{whose}key.pem"),
        ca_cert=f"{folder}/ca.pem",
        verify=True,
    )


def _start_sleep(engine: DockerEngine) -> str:
    """The id of a container that runs."""
    with closing(engine.client()) as client:
        bare_image(client, "bare:1")
        container = client.containers.run("bare:1", ["sleep", "1000"], init=True, detach=True)
        return str(container.id)


def _state(engine: DockerEngine, container: str) -> dict[str, object]:
    with closing(engine.client()) as client:
        state: dict[str, object] = client.api.inspect_container(container)["State"]
        return state


def _shim_sockets(engine: DockerEngine) -> list[Path]:
    """What is not in a folder of the engine: a socket for each container that runs."""
    folder = Path(engine.socket_url.removeprefix("unix://")).parent
    notes = folder.glob("exec/containerd/daemon/*/*/*/address")
    return [Path(note.read_text().removeprefix("unix://")) for note in notes]


def _traces(name: str, network: str) -> list[str]:
    """What of an engine is still here."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if is_alive(int(entry.name)):
                words = (entry / "cmdline").read_bytes() + (entry / "cgroup").read_bytes()
                lines.append(words.decode(errors="replace"))
    for command in (["ip", "-o", "addr"], ["ip", "-o", "link"], ["iptables-save"]):
        listed = subprocess.run(command, check=True, capture_output=True).stdout.decode()
        lines += listed.splitlines()
    for pattern in (f"sys/fs/cgroup/**/{name}", f"tmp/{name}*", f"var/tmp/{name}*"):
        lines += _find(pattern)
    return [line for line in lines if name in line or network in line]


def _find(pattern: str) -> list[str]:
    """What there is of that name; folders may go while they are searched."""
    while True:
        try:
            return [str(path) for path in Path("/").glob(pattern)]
        except FileNotFoundError:
            continue


def test_a_container_runs_python(client: docker.DockerClient) -> None:
    # when
    said = client.containers.run(
        "mltrain-test/python:3",
        ["python3", "-c", "import ctypes, os, sqlite3, ssl, sys; print(os.getuid(), sys.version)"],
    )

    # then
    assert said.decode().startswith(f"0 {sys.version_info[0]}.{sys.version_info[1]}.")


def test_a_container_runs_as_a_user_who_makes_an_environment_at_home(
    client: docker.DockerClient,
) -> None:
    # when
    said = client.containers.run(
        "mltrain-test/unprivileged:3",
        ["sh", "-c", "id -un; pip --version; python3 -m venv --without-pip ~/own && echo made"],
    )

    # then
    assert re.fullmatch(r"trainer\npip .*\nmade\n", said.decode())


def test_an_image_without_python_has_a_shell(client: docker.DockerClient) -> None:
    # when
    said = client.containers.run(
        "mltrain-test/bare:1", ["sh", "-c", "command -v python3 || echo none"]
    )

    # then
    assert said == b"none\n"


def test_a_container_reaches_this_machine_by_the_bridge(
    engine: DockerEngine, client: docker.DockerClient
) -> None:
    # given
    address = str(IPv4Network(engine.network)[1])
    with closing(socket.create_server((address, 0))) as server:
        server.settimeout(10)
        where = (address, server.getsockname()[1])

        # when
        connect = f"import socket; socket.create_connection({where}, 10)"
        client.containers.run("mltrain-test/python:3", ["python3", "-c", connect])

        # then
        connection, origin = server.accept()
        connection.close()
        assert origin[0]


def test_whoever_has_a_certificate_is_answered(
    engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)  # requests would believe it alone
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)

    # when
    certificate = _with_certificate(engine, "")
    with closing(docker.DockerClient(base_url=engine.tls_url, tls=certificate)) as client:
        # then
        assert client.ping()


def test_a_stranger_is_refused(engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)

    # when, then
    certificate = _with_certificate(engine, "stranger-")
    with pytest.raises(docker.errors.DockerException, match="SSL"):
        docker.DockerClient(base_url=engine.tls_url, tls=certificate)
    wait_for(lambda: "certificate signed by unknown authority" in engine.log)


def test_an_engine_that_was_killed_comes_back_and_has_ended_its_containers() -> None:
    with DockerEngine() as engine:
        # given
        container = _start_sleep(engine)

        # when
        engine.kill()
        engine.start()

        # then
        assert _state(engine, container)["Status"] == "exited"


def test_containers_survive_an_engine_that_restores_them() -> None:
    with DockerEngine(live_restore=True) as engine:
        # given
        container = _start_sleep(engine)
        before = _state(engine, container)

        # when
        engine.restart()
        engine.kill()
        engine.start()

        # then
        assert _state(engine, container) == before
    assert _traces(engine.name, engine.network) == []


def test_nothing_is_left_of_an_engine() -> None:
    # given
    with DockerEngine() as engine:
        _start_sleep(engine)
        with closing(engine.client()) as client:
            client.networks.create("a-network-of-its-own")
        assert len(_traces(engine.name, engine.network)) > 8

    # then
    assert _traces(engine.name, engine.network) == []


def test_nothing_is_left_of_an_engine_that_was_killed() -> None:
    # given
    with DockerEngine() as engine:
        _start_sleep(engine)
        shims = _shim_sockets(engine)
        assert [shim.is_socket() for shim in shims] == [True]
        engine.kill()

    # then
    assert _traces(engine.name, engine.network) == []
    assert [shim for shim in shims if shim.exists()] == []


def test_nothing_is_left_when_the_tests_are_killed() -> None:
    # given
    with subprocess.Popen([sys.executable, "-c", _OUTLIVE], stdout=subprocess.PIPE) as tests:
        assert tests.stdout is not None
        name, network = tests.stdout.readline().decode().split()
        assert _traces(name, network) != []

        # when
        tests.send_signal(signal.SIGKILL)

    # then
    wait_for(lambda: _traces(name, network) == [])


def test_the_hook_of_the_provider_logs_in_to_the_registry_of_a_connection(
    engine: DockerEngine, registry: DockerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setenv("AIRFLOW_CONN_ENGINE", engine.connection_json(registry))
    hook = DockerHook("engine", base_url=engine.socket_url)

    # when
    with closing(hook.api_client) as client:
        client.tag("mltrain-test/bare:1", f"{registry.address}/team/bare", "1")
        said = client.push(f"{registry.address}/team/bare", "1")

    # then
    assert "digest" in said
    assert registry.repositories() == {"team/bare": ["1"]}


def test_a_registry_refuses_whoever_has_no_login(
    client: docker.DockerClient, registry: DockerRegistry
) -> None:
    # when, then
    with pytest.raises(docker.errors.APIError, match="basic auth"):
        client.api.inspect_distribution(f"{registry.address}/team/bare:1")


def test_a_connection_names_the_engine_and_what_a_test_adds(engine: DockerEngine) -> None:
    # when
    connection = json.loads(engine.connection_json(root="/srv", engine=engine.tls_url))

    # then
    assert connection == {
        "conn_type": "docker",
        "extra": {"mltrain": {"engine": engine.tls_url, "root": "/srv"}},
    }
