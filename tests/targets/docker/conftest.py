"""A Docker engine with images for all tests, and targets, benches and clients of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from docker import DockerClient

from airflow_mltrain.targets.registry import connect
from tests.services.docker_engine import DockerEngine
from tests.services.docker_image import USER, bare_image, python_image
from tests.services.docker_jobs import DockerBench, DockerPlace
from tests.services.jobs import require_quiet

if TYPE_CHECKING:
    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget


class ConnectTo(Protocol):
    """Makes the connection `engine`, and gives the compute target that it leads to."""

    def __call__(self, **mltrain: Any) -> ComputeTarget:
        """`mltrain` adds to that part of its extra; None takes away."""


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    """It has images with Python for root, with Python for a user, and without Python."""
    with DockerEngine() as engine:
        with closing(engine.client()) as client:
            python_image(client, "mltrain-test/python:3")
            python_image(client, "mltrain-test/unprivileged:3", user=USER)
            bare_image(client, "mltrain-test/bare:1")
        yield engine


@pytest.fixture
def client(engine: DockerEngine) -> Iterator[DockerClient]:
    """A client of the engine that all tests share."""
    with closing(engine.client()) as client:
        yield client


@pytest.fixture
def bench(tmp_path: Path, client: DockerClient) -> Iterator[DockerBench]:
    """A bench for jobs on that engine."""
    bench = DockerBench(tmp_path / "bench", client=client)
    bench.outside.chmod(0o777)
    yield bench
    require_quiet(bench)


@pytest.fixture
def place(engine: DockerEngine, client: DockerClient, bench: DockerBench) -> Iterator[DockerPlace]:
    """A volume of the test's own."""
    place = DockerPlace(engine, client, bench.outside)
    yield place
    place.remove()


@pytest.fixture
def connect_to(
    engine: DockerEngine,
    bench: DockerBench,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> ConnectTo:
    """Targets on a volume that tests share, unless they name another."""

    def connect_to(**mltrain: Any) -> ComputeTarget:
        told = {
            "image": "mltrain-test/python:3",
            "volume": "shared",
            "network": "host",
            "mounts": [f"{bench.outside}:{bench.outside}"],
            **mltrain,
        }
        monkeypatch.setenv("AIRFLOW_CONN_ENGINE", engine.connection_json(**told))
        return connect("engine", settings)

    return connect_to


@pytest.fixture
def target(connect_to: ConnectTo) -> ComputeTarget:
    """A target as most tests need it."""
    return connect_to()
