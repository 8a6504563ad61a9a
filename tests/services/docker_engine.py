"""A real Docker engine for tests, beside any that this machine has."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker

from scripts.free_port import find_free_port
from tests.services.docker_certificates import make_certificates
from tests.services.docker_ground import DockerGround, is_alive
from tests.services.patience import PATIENCE_SECONDS
from tests.services.requirement import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

    from tests.services.docker_registry import DockerRegistry

_PROGRAMS = ("dockerd", "containerd", "runc", "iptables", "ip", "openssl")
_NOT_FOUND, _CONFLICT = 404, 409


class DockerEngine:
    """An engine with images, containers and networks of its own, on a socket and behind TLS.

    With `live_restore` its containers survive its end; `runtimes` are programs that it can have
    beside runc, by name. Use it as a context manager; it needs root
    and ends the test without. Nothing of it is left, even if the tests are killed.
    """

    def __init__(
        self, *, live_restore: bool = False, runtimes: Mapping[str, Path] | None = None
    ) -> None:
        self._live_restore = live_restore
        self._runtimes = runtimes or {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        _require_programs()
        self._ground = DockerGround()
        try:
            self._port = find_free_port()
            make_certificates(self.tls_folder)
            (self._folder / "daemon.json").write_text(json.dumps(self._configuration()))
            self.start()
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._is_running:
                self._remove_containers()
                self.stop()
        finally:
            self._discard()

    @property
    def name(self) -> str:
        """It is in the command lines, mounts and control groups of all that the engine starts."""
        return self._ground.name

    @property
    def network(self) -> str:
        """The addresses of its containers."""
        return str(self._ground.network)

    @property
    def socket_url(self) -> str:
        """Where it answers root."""
        return f"unix://{self._folder}/docker.sock"

    @property
    def tls_url(self) -> str:
        """Where it answers whoever has a certificate."""
        return f"tcp://127.0.0.1:{self._port}"

    @property
    def data_folder(self) -> Path:
        """Where it keeps its volumes, its containers and their logs."""
        return self._folder / "data"

    @property
    def tls_folder(self) -> Path:
        """The certificates, under the names that Docker's own programs give them.

        `ca.pem`, `cert.pem` and `key.pem` let a client in; `stranger-cert.pem` and
        `stranger-key.pem`, which nobody here trusts, do not.
        """
        return self._folder / "tls"

    @property
    def log(self) -> str:
        """What it said since it was made."""
        return (self._folder / "log").read_text(errors="replace")

    def client(self) -> docker.DockerClient:
        """A new client, on the socket; whoever asks for it closes it."""
        return docker.DockerClient(base_url=self.socket_url, timeout=int(PATIENCE_SECONDS))

    def connection(
        self, registry: DockerRegistry | None = None, /, **mltrain: Any
    ) -> dict[str, Any]:
        """An Airflow connection to the engine, and to a registry that it is to log in to.

        `mltrain` adds to that part of its extra; None takes away.
        """
        told = {"engine": self.socket_url, **mltrain}
        return {
            "conn_type": "docker",
            **({} if registry is None else registry.connection_fields()),
            "extra": {"mltrain": {key: value for key, value in told.items() if value is not None}},
        }

    def connection_json(self, registry: DockerRegistry | None = None, /, **mltrain: Any) -> str:
        """The same, as a variable AIRFLOW_CONN_<ID> holds it."""
        return json.dumps(self.connection(registry, **mltrain))

    def start(self) -> None:
        """Start it unless it runs, also after it was killed; returns once it answers."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        if not self._is_running:
            self._forget_the_dead()
            with (self._folder / "log").open("ab") as output:
                self._process = subprocess.Popen(
                    ["dockerd", "--config-file", self._folder / "daemon.json"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    start_new_session=True,
                )
        while not self._answers():
            assert self._is_running, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def stop(self) -> None:
        """End it in good order, and its containers unless they survive it."""
        if self._process is not None:
            self._process.terminate()
            self._wait_for_the_end()

    def kill(self) -> None:
        """Kill it; its containers run on, and `start` ends them unless they survive that."""
        if self._process is not None:
            self._process.kill()
            self._wait_for_the_end()

    def restart(self) -> None:
        """Stop it, and start it again."""
        self.stop()
        self.start()

    @property
    def _folder(self) -> Path:
        return self._ground.folder

    @property
    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _configuration(self) -> dict[str, Any]:
        folder, tls = self._folder, self.tls_folder
        settings: dict[str, Any] = {
            "data-root": f"{folder}/data",
            "exec-root": f"{folder}/exec",
            "pidfile": f"{folder}/dockerd.pid",
            "hosts": [self.socket_url, self.tls_url],
            "tlsverify": True,
            "tlscacert": f"{tls}/ca.pem",
            "tlscert": f"{tls}/server-cert.pem",
            "tlskey": f"{tls}/server-key.pem",
            # With none for a bridge it would take away the bridge of this machine's own engine.
            "bridge": self._ground.name,
            "default-address-pools": [{"base": self.network, "size": 24}],
            "iptables": False,
            "ip6tables": False,
            "mtu": 1400,
            "insecure-registries": ["127.0.0.0/8"],
            "live-restore": self._live_restore,
            "runtimes": {name: {"path": str(path)} for name, path in self._runtimes.items()},
            "cgroup-parent": f"/{self._ground.name}",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
        }
        if _version() < 24:  # it has its identity from a file that all engines here would share
            settings["deprecated-key-path"] = f"{folder}/key.json"
        return settings

    def _answers(self) -> bool:
        """Whether it does; Docker's client would leave a socket open where it does not."""
        with closing(socket.socket(socket.AF_UNIX)) as stream, suppress(OSError):
            stream.settimeout(1)
            stream.connect(f"{self._folder}/docker.sock")
            stream.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
            return b" 200 " in stream.recv(100)
        return False

    def _forget_the_dead(self) -> None:
        """Remove a note of its containerd, whose end it would wait for in vain."""
        pid = self._find_containerd()
        if pid is not None and not is_alive(pid):
            self._containerd_note.unlink()

    def _wait_for_the_end(self) -> None:
        """Wait for the end of the engine, and of its containerd, which ends with it."""
        assert self._process is not None
        containerd, deadline = self._find_containerd(), time.monotonic() + PATIENCE_SECONDS
        try:
            self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the engine does not end: {self.log}") from None
        while containerd is not None and is_alive(containerd):
            assert time.monotonic() < deadline, f"containerd does not end: {self.log}"
            time.sleep(0.01)

    @property
    def _containerd_note(self) -> Path:
        return self._folder / "exec/containerd/containerd.pid"

    def _find_containerd(self) -> int | None:
        try:
            return int(self._containerd_note.read_text())
        except FileNotFoundError:
            return None

    def _remove_containers(self) -> None:
        with closing(self.client()) as client:
            for container in client.api.containers(all=True, quiet=True):
                try:
                    client.api.remove_container(container["Id"], force=True)
                except docker.errors.APIError as error:  # it removes itself, or has
                    if error.status_code not in (_NOT_FOUND, _CONFLICT):
                        raise

    def _discard(self) -> None:
        if self._is_running:
            self.kill()
        self._ground.discard()


def _version() -> int:
    said = subprocess.run(["dockerd", "--version"], check=True, capture_output=True).stdout
    found = re.search(rb"version (\d+)", said)
    assert found is not None, said
    return int(found[1])


def _require_programs() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        require("docker", "starting a Docker engine needs root on Linux")
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        require("docker", f"there is no {', '.join(missing)}")
