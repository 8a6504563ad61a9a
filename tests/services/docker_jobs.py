"""Jobs in containers: a bench whose scripts and whose test see one folder, and no other."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from docker import DockerClient
from docker.errors import APIError, NotFound

from airflow_mltrain.targets.docker import engine as engine_module
from tests.services.docker_engine import DockerEngine
from tests.services.docker_registry import DockerRegistry
from tests.services.jobs import JobBench, is_running, wait_for


@dataclass
class DockerBench(JobBench):
    """A bench for jobs on an engine, which mounts its `outside` into their containers."""

    client: DockerClient | None = None

    def is_running(self, pid: int) -> bool:
        """As `JobBench` says; scripts know the numbers of their container."""
        assert self.client is not None
        return any(
            pid == _inner_pid(entry) and is_running(int(entry.name))
            for run_id in self.run_ids
            for entry in processes_in(self.client, run_id)
        )


def processes_in(client: DockerClient, name: str) -> list[Path]:
    """The entries in /proc of all that runs in a container."""
    try:
        container_id = client.api.inspect_container(name)["Id"]
    except NotFound:
        return []
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and container_id in (entry / "cgroup").read_text():
                found.append(entry)
    return found


class DockerPlace:
    """A volume of an engine for one test, and all that comes to use it; `remove` ends both."""

    def __init__(
        self, engine: DockerEngine, client: DockerClient, outside: Path, volume: str | None = None
    ) -> None:
        self.volume = volume or f"test-{uuid4().hex[:12]}"
        self._engine = engine
        self._client = client
        self._outside = outside

    def connection_json(self, login: DockerRegistry | None = None, /, **mltrain: Any) -> str:
        """A connection whose containers have the volume, the folder `outside` and this network."""
        told = {
            "image": "mltrain-test/python:3",
            "volume": self.volume,
            "network": "host",
            "mounts": [f"{self._outside}:{self._outside}"],
            **mltrain,
        }
        return self._engine.connection_json(login, **told)

    def remove(self) -> None:
        """Remove the volume, with the containers that have it; one may be about to begin."""
        wait_for(self._is_removed)

    def _is_removed(self) -> bool:
        for container in self._client.containers.list(
            all=True, ignore_removed=True, filters={"volume": self.volume}
        ):
            with suppress(NotFound):
                container.remove(force=True, v=True)
        try:
            self._client.api.remove_volume(self.volume, force=True)
        except NotFound:
            return True
        except APIError:  # a container has it that was not there yet
            return False
        return True


def container_names(client: DockerClient, label: str | None = None) -> set[str]:
    """All containers that there are, or those with that label, whatever vanishes meanwhile."""
    filters = {} if label is None else {"label": label}
    listed = client.containers.list(all=True, ignore_removed=True, filters=filters)
    return {container.name for container in listed}


def forget_engines() -> None:
    """Close this process's clients of engines that go away, which would be missed otherwise."""
    for client in engine_module._clients.values():  # noqa: SLF001 - nobody else has to
        client.close()
    engine_module._clients.clear()  # noqa: SLF001


def _inner_pid(entry: Path) -> int | None:
    with suppress(OSError):
        for line in (entry / "status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return None
