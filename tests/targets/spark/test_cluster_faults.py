"""What becomes of a run when a part of its cluster is lost, or gives it nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import ComputeTarget, SparkRequest
from airflow_mltrain.targets.registry import connect
from tests.services.jobs import (
    follow,
    kill_supervisor,
    pids_carrying,
    wait_for,
    wait_for_log,
    wait_until,
)
from tests.services.spark_cluster import SparkCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mltrain.settings import Settings
    from tests.services.spark_jobs import SparkJobBench

_SESSION = """
import os, sys, time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext
print("session", flush=True)
"""
_IN_TWO_PARTS = (
    _SESSION
    + """
def work(seconds):
    return sc.parallelize(range(8), 8).map(lambda _: time.sleep(seconds)).count()
print("first", work(0), flush=True)
while not os.path.exists(os.environ["OUTSIDE"] + "/release"):
    time.sleep(0.1)
print("second", work(0.2), flush=True)
"""
)
_READY = "sc.parallelize([1]).count(); print('ready', flush=True)\n"
_UNTIL_KILLED = f"{_SESSION}{_READY}time.sleep(1000)"
_TERMINAL = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED)


@pytest.fixture
def cluster() -> Iterator[SparkCluster]:
    """Of its own for each test, which breaks it."""
    with SparkCluster() as cluster:
        yield cluster


def _ended(target: ComputeTarget, run_id: str) -> tuple[RunStatus, str, bytes]:
    state = follow(
        target,
        run_id,
        lambda one: one.status in _TERMINAL and len(one.log) >= (one.log_bytes or 0),
    )
    return state.status, str(state.reason), state.log


def test_a_lost_worker_costs_no_run(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster
) -> None:
    run_id = bench.python(target, _IN_TWO_PARTS)
    follow(target, run_id, lambda state: b"first 8" in state.log)

    cluster.kill(cluster.workers[0])
    for pid in cluster.executors()[:1]:
        os.kill(pid, signal.SIGKILL)
    (bench.outside / "release").touch()

    status, reason, log = _ended(target, run_id)
    assert (status, reason) == (RunStatus.COMPLETED, "None"), log
    assert b"second 8" in log


def test_a_lost_master_costs_no_run_that_has_its_executors(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster
) -> None:
    run_id = bench.python(target, _IN_TWO_PARTS)
    follow(target, run_id, lambda state: b"first 8" in state.log)

    cluster.kill_master()
    (bench.outside / "release").touch()

    status, reason, log = _ended(target, run_id)
    assert (status, reason) == (RunStatus.COMPLETED, "None"), log
    assert b"second 8" in log


@pytest.mark.parametrize("victim", ["java", "python"])
def test_a_lost_driver_is_a_failed_run_and_its_application_is_gone(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster, victim: str
) -> None:
    run_id = bench.python(target, _UNTIL_KILLED)
    follow(target, run_id, lambda state: b"ready" in state.log)

    mark = "org.apache.spark.deploy.SparkSubmit" if victim == "java" else "train.py"
    (pid,) = [one for one in pids_carrying(run_id) if mark in _words(one)]
    os.kill(pid, signal.SIGKILL)

    status, reason, log = _ended(target, run_id)
    assert status is RunStatus.FAILED
    assert "killed by SIGKILL" in reason, log
    wait_for(lambda: not cluster.active_applications())


def test_an_application_that_its_master_ends_says_so(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster
) -> None:
    run_id = bench.python(target, f"{_SESSION}{_READY}while True: sc.parallelize([1]).count()")
    follow(target, run_id, lambda state: b"ready" in state.log)

    cluster.kill_application()

    status, reason, _ = _ended(target, run_id)
    assert status is RunStatus.FAILED
    assert "its master" in reason


def test_executors_larger_than_any_worker_are_said_to_be_and_do_not_wait_for_ever(
    target: ComputeTarget, bench: SparkJobBench
) -> None:
    script = _SESSION + "sc.parallelize([1]).count()"

    run_id = bench.python(target, script, spark=SparkRequest(executor_memory="64g"))

    status, reason, log = _ended(target, run_id)
    assert status is RunStatus.FAILED
    assert "no executor in 3" in reason, log
    assert "64g of memory" in reason
    assert "of 1024 MiB free" in reason
    assert "executor_memory" in reason
    assert b"no executor yet" in log


def test_a_full_cluster_is_waited_for_as_long_as_the_target_says(
    bench: SparkJobBench,
    cluster: SparkCluster,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = cluster.connection_json(executor_timeout_seconds=18)
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", connection)
    target = connect("cluster", settings)
    holder = bench.python(target, _UNTIL_KILLED)
    follow(target, holder, lambda state: b"ready" in state.log)

    waiting = bench.python(target, _SESSION + "sc.parallelize([1]).count()")

    status, reason, log = _ended(target, waiting)
    assert status is RunStatus.FAILED
    assert "no executor in 1" in reason, log
    assert "executor_timeout_seconds" in reason
    target.cancel(holder)
    wait_until(target, holder, RunStatus.CANCELED)


def test_a_driver_whose_supervisor_is_killed_leaves_no_application(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster, settings: Settings
) -> None:
    run_id = bench.python(target, _UNTIL_KILLED)
    wait_for_log(target, run_id, b"ready")

    kill_supervisor(settings.local_root.with_name("spark-cluster"), run_id)

    status, _, _ = _ended(target, run_id)
    assert status is RunStatus.FAILED
    wait_for(lambda: not cluster.active_applications())
    left = settings.local_root.with_name("spark-cluster") / "runs" / run_id / "spark"
    assert (left / "code.zip").exists()
    assert not (left / "properties").exists()


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""  # it has ended meanwhile
