"""What becomes of a run when its driver is lost, or its application is ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import ComputeTarget
from tests.services.jobs import (
    kill_supervisor,
    pids_carrying,
    wait_for,
    wait_for_log,
    wait_until_ended,
)

if TYPE_CHECKING:
    from airflow_mltrain.settings import Settings
    from tests.services.spark_cluster import SparkCluster
    from tests.services.spark_jobs import SparkJobBench

_READY = """
import time
from pyspark.sql import SparkSession
sc = SparkSession.builder.getOrCreate().sparkContext
sc.parallelize([1]).count()
print("ready", flush=True)
"""
_UNTIL_KILLED = f"{_READY}time.sleep(1000)"


@pytest.mark.parametrize("victim", ["java", "python"])
def test_a_lost_driver_is_a_failed_run_and_its_application_is_gone(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster, victim: str
) -> None:
    run_id = bench.python(target, _UNTIL_KILLED)
    wait_for_log(target, run_id, b"ready")

    mark = "org.apache.spark.deploy.SparkSubmit" if victim == "java" else "train.py"
    (pid,) = [one for one in pids_carrying(run_id) if mark in _words(one)]
    os.kill(pid, signal.SIGKILL)

    ended = wait_until_ended(target, run_id)
    assert ended.status is RunStatus.FAILED
    assert "killed by SIGKILL" in str(ended.reason), ended
    wait_for(lambda: not cluster.active_applications())


def test_an_application_that_its_master_ends_says_so(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster
) -> None:
    run_id = bench.python(target, f"{_READY}while True: sc.parallelize([1]).count()")
    wait_for_log(target, run_id, b"ready")

    cluster.kill_application()

    ended = wait_until_ended(target, run_id)
    assert ended.status is RunStatus.FAILED
    assert "its master" in str(ended.reason)
    wait_for(lambda: not cluster.active_applications())


def test_a_driver_whose_supervisor_is_killed_leaves_no_application(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster, settings: Settings
) -> None:
    run_id = bench.python(target, _UNTIL_KILLED)
    wait_for_log(target, run_id, b"ready")

    kill_supervisor(settings.local_root.with_name("spark-cluster"), run_id)

    assert wait_until_ended(target, run_id).status is RunStatus.FAILED
    wait_for(lambda: not cluster.active_applications())
    left = settings.local_root.with_name("spark-cluster") / "runs" / run_id / "spark"
    assert (left / "code.zip").exists()
    assert not (left / "properties").exists()


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""  # it has ended meanwhile
