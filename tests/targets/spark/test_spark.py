"""A Spark cluster as a compute target: the contract, with the driver on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.targets.registry import connect
from tests.contracts.compute_target import ComputeTargetContract
from tests.services.jobs import JobBench, require_quiet
from tests.services.spark_jobs import SparkJobBench
from tests.targets.test_local import HOSTILE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget
    from tests.services.spark_cluster import SparkCluster


class TestSparkTarget(ComputeTargetContract):
    """Every Python script is a driver, begun by spark-submit; the folder's name is a trial."""

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
