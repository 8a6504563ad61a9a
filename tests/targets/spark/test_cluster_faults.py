"""What becomes of a run when a part of its cluster is lost."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import ComputeTarget
from tests.services.jobs import wait_for_log, wait_until_ended
from tests.services.spark_cluster import SparkCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.spark_jobs import SparkJobBench

_IN_TWO_PARTS = """
import os, time
from pyspark.sql import SparkSession
sc = SparkSession.builder.getOrCreate().sparkContext
def work(seconds):
    return sc.parallelize(range(8), 8).map(lambda _: time.sleep(seconds)).count()
print("first", work(0), flush=True)
while not os.path.exists(os.environ["OUTSIDE"] + "/release"):
    time.sleep(0.1)
print("second", work(0.2), flush=True)
"""


@pytest.fixture
def cluster() -> Iterator[SparkCluster]:
    """Of its own for each test, which breaks it."""
    with SparkCluster() as cluster:
        yield cluster


def test_a_lost_worker_costs_no_run(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster
) -> None:
    run_id = bench.python(target, _IN_TWO_PARTS)
    wait_for_log(target, run_id, b"first 8")

    cluster.kill(cluster.workers[0])
    for pid in cluster.executors()[:1]:
        os.kill(pid, signal.SIGKILL)
    (bench.outside / "release").touch()

    ended = wait_until_ended(target, run_id)
    assert (ended.status, ended.reason) == (RunStatus.COMPLETED, None), ended
    assert b"second 8" in ended.log


def test_a_lost_master_costs_no_run_that_has_its_executors(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster
) -> None:
    run_id = bench.python(target, _IN_TWO_PARTS)
    wait_for_log(target, run_id, b"first 8")

    cluster.kill_master()
    (bench.outside / "release").touch()

    ended = wait_until_ended(target, run_id)
    assert (ended.status, ended.reason) == (RunStatus.COMPLETED, None), ended
    assert b"second 8" in ended.log
