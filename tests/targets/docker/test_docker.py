"""A Docker engine as a compute target: the contract, in real containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from docker import DockerClient

from airflow_mltrain.targets.registry import connect
from tests.contracts.compute_target import ComputeTargetContract
from tests.contracts.target_environment import EnvironmentContract
from tests.contracts.target_gpu import GpuContract
from tests.contracts.target_lease import LeaseContract
from tests.services.docker_engine import DockerEngine
from tests.services.docker_jobs import DockerBench, DockerPlace
from tests.services.jobs import JobBench, require_quiet

if TYPE_CHECKING:
    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget


_OF_ALL = (EnvironmentContract.__name__, GpuContract.__name__)


class DockerFixtures:
    """What the tests of one target need: a bench, and a volume.

    Where the contract speaks of all that lies on a target, the test has one of its own.
    """

    volume = "contract"

    @pytest.fixture
    def bench(self, tmp_path: Path, client: DockerClient) -> Iterator[JobBench]:
        bench = DockerBench(tmp_path / "bench", client=client)
        bench.outside.chmod(0o777)
        yield bench
        require_quiet(bench)

    @pytest.fixture
    def place(
        self,
        engine: DockerEngine,
        client: DockerClient,
        bench: JobBench,
        request: pytest.FixtureRequest,
    ) -> Iterator[DockerPlace]:
        if request.function.__qualname__.startswith(_OF_ALL):
            place = DockerPlace(engine, client, bench.outside)
            yield place
            place.remove()
        else:
            yield DockerPlace(engine, client, bench.outside, self.volume)


class TestDockerTarget(DockerFixtures, ComputeTargetContract):
    """Over the engine's socket, as root in the image."""

    @pytest.fixture
    def target(
        self, place: DockerPlace, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> ComputeTarget:
        monkeypatch.setenv("AIRFLOW_CONN_ENGINE", place.connection_json())
        return connect("engine", settings)

    @pytest.fixture
    def same_target(self, target: ComputeTarget, settings: Settings) -> ComputeTarget:
        return connect(target.name, settings)


class TestDockerTargetOverTls(TestDockerTarget):
    """The same over TCP, as a user who may do nothing in the image."""

    volume = "contract-tls"

    @pytest.fixture
    def target(
        self,
        engine: DockerEngine,
        place: DockerPlace,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> ComputeTarget:
        told = {
            "engine": engine.tls_url,
            "tls_ca": str(engine.tls_folder / "ca.pem"),
            "tls_cert": str(engine.tls_folder / "cert.pem"),
            "tls_key": str(engine.tls_folder / "key.pem"),
            "image": "mltrain-test/unprivileged:3",
        }
        monkeypatch.setenv("AIRFLOW_CONN_ENGINE", place.connection_json(**told))
        return connect("engine", settings)


class TestDockerGpus(DockerFixtures, GpuContract):
    """Cards that were declared, and that no engine here has: its runtime shows them."""

    @pytest.fixture
    def two_cards(
        self, place: DockerPlace, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> ComputeTarget:
        told = place.connection_json(gpus=["0", "1"], runtime="runc")
        monkeypatch.setenv("AIRFLOW_CONN_ENGINE", told)
        return connect("engine", settings)


class TestDockerLease(DockerFixtures, LeaseContract):
    """Counted in the container, by marks that job agents leave on the volume."""

    @pytest.fixture
    def target(
        self, place: DockerPlace, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> ComputeTarget:
        monkeypatch.setenv("AIRFLOW_CONN_ENGINE", place.connection_json())
        return connect("engine", settings)

    @pytest.fixture
    def same_target(self, target: ComputeTarget, settings: Settings) -> ComputeTarget:
        return connect(target.name, settings)
