"""A cluster of one master and two workers, shared by the tests of a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.targets.registry import connect
from tests.services.jobs import require_quiet
from tests.services.spark_cluster import SparkCluster
from tests.services.spark_jobs import SparkJobBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget


@pytest.fixture(scope="module")
def cluster() -> Iterator[SparkCluster]:
    with SparkCluster() as cluster:
        yield cluster


@pytest.fixture
def target(
    cluster: SparkCluster, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> ComputeTarget:
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(cluster.connection()))
    return connect("cluster", settings)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SparkJobBench]:
    bench = SparkJobBench(tmp_path / "bench")
    yield bench
    require_quiet(bench)
