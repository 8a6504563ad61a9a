"""A driver as a job: what it does on the cluster, and what the run tells of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from tests.services.jobs import require_quiet, wait_until_ended
from tests.services.spark_jobs import SparkJobBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_mltrain.targets.base import ComputeTarget
    from tests.services.spark_cluster import SparkCluster

_COUNT = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("mine").getOrCreate()
print("counted", spark.range(1000).repartition(4).count())
spark.stop()
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SparkJobBench]:
    bench = SparkJobBench(tmp_path / "bench")
    yield bench
    require_quiet(bench)


def test_a_script_counts_on_the_cluster(target: ComputeTarget, bench: SparkJobBench) -> None:
    run_id = bench.python(target, _COUNT)

    ended = wait_until_ended(target, run_id)
    print(ended)
    assert ended.status is RunStatus.COMPLETED, ended
    assert b"counted 1000\n" in ended.log
    assert b"[mltrain] Spark application app-" in ended.log
