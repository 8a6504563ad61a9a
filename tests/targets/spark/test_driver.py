"""A driver as a job: what it has on the cluster, and what its run tells of it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import ComputeTarget
from airflow_mltrain.targets.spark_job import SparkRequest
from tests.services.environments import environment_request
from tests.services.jobs import follow, wait_for, wait_for_log, wait_until_ended
from tests.services.package_index import PackageIndex, package_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.spark_cluster import SparkCluster
    from tests.services.spark_jobs import SparkJobBench

SESSION = """
import sys, time
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("mine").getOrCreate()
sc = spark.sparkContext
print("session", flush=True)
"""
_SLOW = SESSION + "sc.parallelize(range(400), 400).map(lambda _: time.sleep(0.5)).count()\n"
_AT_BOTH = (
    SESSION
    + """
import alpha, mylib
def look(_):
    import alpha, mylib, mltrain, sys
    return alpha.__version__, mylib.NAME, sys.prefix
print("here", alpha.__version__, mylib.NAME)
for version, name, prefix in sc.parallelize(range(2), 2).map(look).collect():
    print("there", version, name, prefix)
spark.stop()
"""
)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with package_index(tmp_path / "index") as index:
        index.add("alpha", "1.0")
        yield index


def test_a_script_computes_on_the_cluster_and_its_run_says_where(
    target: ComputeTarget, bench: SparkJobBench
) -> None:
    script = SESSION + "print('counted', spark.range(1000).repartition(4).count())"

    ended = wait_until_ended(target, bench.python(target, script))

    assert ended.status is RunStatus.COMPLETED, ended
    assert b"counted 1000\n" in ended.log
    assert b"[mltrain] Spark application app-" in ended.log
    facts = {line["name"]: line["value"] for line in map(json.loads, ended.metrics.splitlines())}
    assert facts["spark.application_id"].startswith("app-")
    assert facts["spark.ui_url"].startswith("http://")


def test_packages_and_modules_of_the_source_directory_are_on_the_executors_too(
    target: ComputeTarget, bench: SparkJobBench, index: PackageIndex
) -> None:
    environment = environment_request(index, "alpha")
    files = {"train.py": _AT_BOTH, "mylib.py": "NAME = 'ours'\n"}

    runs = []
    for _ in range(2):
        job = bench.job(target, "python", "train.py", files=files, environment=environment)
        target.start(job)
        runs.append(wait_until_ended(target, job.run_id))

    first, second = runs
    assert first.status is RunStatus.COMPLETED, first
    assert b"here 1.0 ours\n" in first.log
    there = [line for line in first.log.splitlines() if line.startswith(b"there ")]
    assert len(there) == 2
    assert all(line.startswith(b"there 1.0 ours ") for line in there)
    assert all(line.endswith(b"/environment") for line in there)
    assert b"was packed for executors" in first.log
    assert second.status is RunStatus.COMPLETED, second
    assert b"was packed" not in second.log


def test_resources_and_properties_reach_spark_and_secrets_no_command_line(
    target: ComputeTarget, bench: SparkJobBench
) -> None:
    secret = "s3cret: of = ours\\ \u2603"  # noqa: S105 - made up
    request = SparkRequest(
        properties={"spark.mine.password": secret, "spark.sql.shuffle.partitions": "3"},
        driver_memory="600m",
        executor_memory="512m",
        executor_cores=1,
        executor_instances=1,
    )
    script = SESSION + (
        "import json; conf = spark.sparkContext.getConf(); print('told', json.dumps("
        "dict(conf.getAll())))\nspark.range(4).count()\nprint('ready', flush=True); "
        "time.sleep(1000)"
    )

    run_id = bench.python(target, script, spark=request)

    state = wait_for_log(target, run_id, b"ready")
    lines = _command_lines()
    target.cancel(run_id)
    told = json.loads(state.log.split(b"told ")[1].splitlines()[0])
    assert told["spark.mine.password"] == secret
    assert told["spark.sql.shuffle.partitions"] == "3"
    assert told["spark.driver.memory"] == "600m"
    assert told["spark.executor.memory"] == "512m"
    assert told["spark.cores.max"] == "1"
    assert not [line for line in lines if b"s3cret" in line]
    assert wait_until_ended(target, run_id).status is RunStatus.CANCELED


def test_the_log_tells_how_far_the_application_is_and_a_cancel_removes_it_from_the_cluster(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster
) -> None:
    run_id = bench.python(target, _SLOW, cancel_grace_seconds=5.0)

    state = follow(target, run_id, lambda state: b" of 400 tasks" in state.log)
    assert len(cluster.active_applications()) == 1
    assert cluster.executors()
    target.cancel(run_id)

    ended = wait_until_ended(target, run_id)
    assert ended.status is RunStatus.CANCELED, state
    wait_for(lambda: not cluster.active_applications())
    wait_for(lambda: not cluster.executors())


def _command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it may have ended meanwhile
            found.append(path.read_bytes())
    return found
