"""What is waited for in vain, and how long; all of it at once, and each test looks at one."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.base import ComputeTarget, JobState
from airflow_mltrain.targets.registry import connect
from airflow_mltrain.targets.spark_job import SparkRequest
from scripts.free_port import find_free_port
from tests.services.jobs import require_quiet, wait_for_log, wait_until_ended
from tests.services.spark_jobs import SparkJobBench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.spark_cluster import SparkCluster

pytestmark = pytest.mark.slow

_SESSION = "from pyspark.sql import SparkSession; spark = SparkSession.builder.getOrCreate()\n"
_COUNT = f"{_SESSION}spark.sparkContext.parallelize([1]).count()\n"
_HOLD = f"{_COUNT}print('ready', flush=True)\nimport time; time.sleep(1000)"
_TIMEOUT_SECONDS = 18
_DEFAULT_SECONDS = 600


class Waits:
    """Runs that wait for something, on targets of one cluster."""

    def __init__(self, folder: Path, environment: pytest.MonkeyPatch) -> None:
        self._settings = Settings(
            database_url=f"sqlite:///{folder}/history.db",
            artifacts=folder / "artifacts",
            local_root=folder / "local",
        )
        self._bench = SparkJobBench(folder / "bench")
        self._environment = environment
        self._begun: dict[str, tuple[ComputeTarget, str]] = {}

    def begin(self, name: str, connection: dict[str, Any], script: str, **request: Any) -> None:
        """Start a driver on a target of its own."""
        self._environment.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
        target = connect(name, self._settings)
        spark = SparkRequest(**request)
        self._begun[name] = target, self._bench.python(target, script, spark=spark)

    def await_log(self, name: str, text: bytes) -> None:
        """Return once the run has said this."""
        wait_for_log(*self._begun[name], text)

    def end_of(self, name: str) -> JobState:
        """How the run ended, with all its log."""
        return wait_until_ended(*self._begun[name])

    def cancel(self) -> None:
        """Leave no run behind."""
        for target, run_id in self._begun.values():
            target.cancel(run_id)
        for name in self._begun:
            self.end_of(name)
        require_quiet(self._bench)


@pytest.fixture(scope="module")
def waits(cluster: SparkCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Waits]:
    folder = tmp_path_factory.mktemp("waits")
    with pytest.MonkeyPatch.context() as environment, ExitStack() as stack:
        environment.setenv("AIRFLOW_HOME", str(folder / "airflow home"))
        waits = Waits(folder, environment)
        stack.callback(waits.cancel)
        deaf = {**cluster.connection(), "port": find_free_port()}
        waits.begin("deaf_master", deaf, _SESSION)
        waits.begin("executor", cluster.connection(), _COUNT, executor_memory="64g")
        driver = cluster.cluster_connection()
        waits.begin("driver", driver, "print('never')", driver_memory="64g", driver_cores=2)
        waits.begin("holder", cluster.connection(), _HOLD)
        waits.await_log("holder", b"ready")
        full = cluster.connection(executor_timeout_seconds=_TIMEOUT_SECONDS)
        waits.begin("full", full, _COUNT)
        yield waits


def _waited_seconds(state: JobState) -> int:
    found = re.search(r"no executor in (\d+) s:", str(state.reason))
    assert found is not None, state
    return int(found[1])


def test_executors_larger_than_any_worker_are_said_to_be_and_do_not_wait_for_ever(
    waits: Waits,
) -> None:
    ended = waits.end_of("executor")

    assert ended.status is RunStatus.FAILED
    assert 30 <= _waited_seconds(ended) < _DEFAULT_SECONDS
    assert "64g of memory" in str(ended.reason)
    assert "of 1024 MiB free" in str(ended.reason)
    assert "executor_memory" in str(ended.reason)
    assert b"no executor yet" in ended.log


def test_a_driver_larger_than_any_worker_is_said_to_be_and_does_not_wait_for_ever(
    waits: Waits, cluster: SparkCluster
) -> None:
    ended = waits.end_of("driver")

    assert ended.status is RunStatus.FAILED
    assert "no worker has taken the driver" in str(ended.reason)
    assert "64g of memory and 2 cores" in str(ended.reason)
    assert "driver_memory" in str(ended.reason)
    assert not cluster.active_drivers()


def test_a_full_cluster_is_waited_for_as_long_as_the_target_says(waits: Waits) -> None:
    ended = waits.end_of("full")

    assert ended.status is RunStatus.FAILED
    assert _TIMEOUT_SECONDS <= _waited_seconds(ended) < _DEFAULT_SECONDS
    assert "executor_timeout_seconds" in str(ended.reason)


def test_a_master_that_does_not_answer(waits: Waits) -> None:
    ended = waits.end_of("deaf_master")

    assert ended.status is RunStatus.FAILED
    assert "the master does not answer (127.0.0.1:" in str(ended.reason)
    assert "Connection refused" in str(ended.reason)
