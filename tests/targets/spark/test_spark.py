"""A Spark cluster as a compute target: the contract, wherever the driver is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.targets.registry import connect
from tests.contracts.compute_target import ComputeTargetContract
from tests.services.jobs import JobBench, require_quiet
from tests.services.spark_jobs import SparkJobBench
from tests.services.ssh_host import SshHost
from tests.targets.test_local import HOSTILE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget
    from tests.services.spark_cluster import SparkCluster


class TestSparkTarget(ComputeTargetContract):
    """Every Python script is a driver, begun by spark-submit; the folder's name is a trial.

    What does not depend on how a script begins is the machine's, and tried there.
    """

    selection = "driver"

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[JobBench]:
        bench = SparkJobBench(tmp_path / "bench")
        yield bench
        require_quiet(bench)

    @pytest.fixture
    def target(
        self,
        cluster: SparkCluster,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> ComputeTarget:
        connection = cluster.connection(root=f"{tmp_path}/{HOSTILE_FOLDER}")
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))
        return connect("cluster", settings)

    @pytest.fixture
    def same_target(self, target: ComputeTarget, settings: Settings) -> ComputeTarget:
        return connect(target.name, settings)


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    with SshHost(own_processes=False, home_name="my home") as host:
        yield host


class TestSparkTargetWithAnEdgeNode(TestSparkTarget):
    """The same, with the driver on a host that is reached over SSH, as a user without rights."""

    selection = "driver elsewhere"

    @pytest.fixture
    def bench(self, host: SshHost) -> Iterator[JobBench]:
        bench = SparkJobBench(host.make_shared_folder())
        bench.outside.chmod(0o777)
        yield bench
        require_quiet(bench)

    @pytest.fixture
    def target(
        self,
        cluster: SparkCluster,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        host: SshHost,
    ) -> ComputeTarget:
        root = f'{host.make_shared_folder()}/the team\'s "root"'
        monkeypatch.setenv("AIRFLOW_CONN_EDGE", host.connection_json(mltrain={"root": root}))
        connection = cluster.connection_json(edge_node="edge")
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", connection)
        return connect("cluster", settings)
