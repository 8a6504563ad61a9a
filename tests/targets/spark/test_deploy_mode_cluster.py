"""Drivers that run on a worker of the cluster, put there through the master's gateway."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import ComputeTarget, JobState, PreviousOutputs
from airflow_mltrain.targets.registry import connect
from tests.fakes.forgetful_gateway import ForgetfulGateway
from tests.services.environments import environment_request
from tests.services.jobs import (
    TERMINAL,
    follow,
    is_running,
    kill_supervisor,
    pids_carrying,
    wait_for,
)
from tests.services.package_index import package_index
from tests.services.spark_cluster import SparkCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mltrain.settings import Settings
    from tests.services.spark_jobs import SparkJobBench

    Make = Callable[..., ComputeTarget]

_SESSION = """
import os, signal, sys, time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext
print("counted", sc.parallelize(range(100), 2).count(), flush=True)
"""
_UNTIL_RELEASED = """
import os, time
open(os.environ["OUTSIDE"] + f"/began-{os.getpid()}", "w").close()
print("ready", flush=True)
while not os.path.exists(os.environ["OUTSIDE"] + "/release"):
    time.sleep(0.1)
print("released", flush=True)
"""
_SAVES = """
def save(*_):
    print("saved", sc.parallelize(range(4), 2).count(), flush=True)
    open("outputs/model", "w").write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(1000)
"""
_AT_BOTH = """
import alpha, mltrain, mylib
run = mltrain.Run.get_context()
run.log("accuracy", 0.5)
print("here", alpha.__version__, run.id, os.getcwd(), sys.argv[1:], flush=True)
def look(_):
    import alpha, mylib
    return alpha.__version__, mylib.NAME
print("there", sc.parallelize(range(2), 2).map(look).collect())
print("secret", len(os.environ["MY_SECRET"]), flush=True)
open("outputs/model", "w").write("weights")
sys.stdout.buffer.write(bytes(range(256)))
sys.stdout.flush()
sys.exit(3)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[SparkCluster]:
    with SparkCluster() as cluster:
        yield cluster


@pytest.fixture
def make(cluster: SparkCluster, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A target with drivers on a cluster, the module's unless another is named."""

    def make(cluster: SparkCluster = cluster, **mltrain: Any) -> ComputeTarget:
        told = {"driver_alone_seconds": 5, **mltrain}
        connection = cluster.cluster_connection(**told)
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))
        return connect("cluster", settings)

    return make


@pytest.fixture
def target(make: Make) -> ComputeTarget:
    return make()


def _ended(target: ComputeTarget, run_id: str) -> JobState:
    def is_over(state: JobState) -> bool:
        return state.status in TERMINAL and len(state.log) >= (state.log_bytes or 0)

    return follow(target, run_id, is_over)


def _wait_for_log(target: ComputeTarget, run_id: str, text: bytes) -> JobState:
    return follow(target, run_id, lambda state: text in state.log)


def _driver_pids(run_id: str) -> list[int]:
    return pids_carrying(f"{run_id}.driver")


def test_a_script_runs_on_a_worker_and_all_of_it_comes_back(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster, tmp_path: Path
) -> None:
    arguments = ["a b", "x'\"\n$HOME", ""]
    files = {"train.py": _SESSION + _AT_BOTH, "mylib.py": "NAME = 'ours'\n"}

    with package_index(tmp_path / "index") as index:
        index.add("alpha", "1.0")
        environment = environment_request(index, "alpha")
        job = bench.job(
            target,
            "python",
            "train.py",
            *arguments,
            files=files,
            environment=environment,
            secret_variables={"MY_SECRET": "s3cret"},
        )
        target.start(job)
        ended = _ended(target, job.run_id)

    assert (ended.status, ended.exit_code, ended.reason) == (
        RunStatus.FAILED,
        3,
        "exit code 3",
    ), ended
    log = ended.log
    assert f"here 1.0 {job.run_id} {cluster.folder}/worker-".encode() in log
    assert repr(arguments).encode() in log
    assert b"there [('1.0', 'ours'), ('1.0', 'ours')]" in log
    assert b"secret 6\n" in log
    assert bytes(range(256)) in log
    assert b"[mltrain] Spark application app-" in log
    names = [json.loads(line)["name"] for line in ended.metrics.splitlines()]
    assert sorted(names) == ["accuracy", "spark.application_id", "spark.ui_url"]
    kept = tmp_path / "kept"
    kept.mkdir()
    target.fetch(job.run_id, kept)
    assert (kept / "outputs" / "model").read_text() == "weights"
    assert (kept / "logs" / "spark.log").exists()
    wait_for(lambda: not cluster.active_drivers())
    assert not list(cluster.folder.rglob("train.py"))


def test_a_cancel_lets_the_script_save_and_removes_driver_and_executors(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster, tmp_path: Path
) -> None:
    run_id = bench.python(target, _SESSION + _SAVES, cancel_grace_seconds=20.0)
    _wait_for_log(target, run_id, b"ready")
    assert _driver_pids(run_id)

    target.cancel(run_id)

    ended = _ended(target, run_id)
    assert ended.status is RunStatus.CANCELED, ended
    assert b"saved 4\n" in ended.log
    assert not _driver_pids(run_id)
    assert not cluster.active_drivers()
    wait_for(lambda: not cluster.executors())
    (tmp_path / "kept").mkdir()
    target.fetch(run_id, tmp_path / "kept")
    assert (tmp_path / "kept" / "outputs" / "model").read_text() == "saved"


def test_a_driver_that_nobody_watches_saves_and_leaves_the_cluster(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster
) -> None:
    run_id = bench.python(target, _SESSION + _SAVES, cancel_grace_seconds=20.0, lease_seconds=10.0)
    _wait_for_log(target, run_id, b"ready")

    wait_for(lambda: not _driver_pids(run_id))

    ended = _ended(target, run_id)
    assert ended.status is RunStatus.FAILED
    assert "lease_seconds = 10.0" in str(ended.reason)
    assert b"saved 4\n" in ended.log
    assert not cluster.active_drivers()


def test_a_lost_answer_of_the_master_runs_the_script_once(
    make: Make, bench: SparkJobBench, cluster: SparkCluster
) -> None:
    with ForgetfulGateway(cluster.rest_port) as gateway:
        target = make(master_gateway=gateway.address)
        run_id = bench.python(target, _UNTIL_RELEASED)
        _wait_for_log(target, run_id, b"ready")
        wait_for(lambda: gateway.created == 2)
        wait_for(lambda: len(cluster.active_drivers()) == 1)
        (bench.outside / "release").touch()

        ended = _ended(target, run_id)

    assert ended.status is RunStatus.COMPLETED, ended
    assert ended.log.count(b"ready\n") == 1
    assert len(list(bench.outside.glob("began-*"))) == 1


def test_a_broken_line_is_taken_up_again_and_loses_nothing(
    target: ComputeTarget, bench: SparkJobBench
) -> None:
    run_id = bench.python(target, _UNTIL_RELEASED)
    _wait_for_log(target, run_id, b"ready")

    for pid in _answering():
        os.kill(pid, signal.SIGKILL)
    _wait_for_log(target, run_id, b"it is to call again")
    (bench.outside / "release").touch()

    ended = _ended(target, run_id)
    assert ended.status is RunStatus.COMPLETED, ended
    assert (ended.log.count(b"ready\n"), ended.log.count(b"released\n")) == (1, 1)


def test_a_driver_ends_with_the_one_who_submitted_it(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster, settings: Settings
) -> None:
    run_id = bench.python(target, _UNTIL_RELEASED)
    _wait_for_log(target, run_id, b"ready")

    kill_supervisor(settings.local_root.with_name("spark-cluster"), run_id)

    ended = _ended(target, run_id)
    assert ended.status is RunStatus.FAILED
    wait_for(lambda: not _driver_pids(run_id))
    wait_for(lambda: not cluster.active_drivers())


def test_a_driver_that_its_master_ends_is_a_failed_run(
    target: ComputeTarget, bench: SparkJobBench, cluster: SparkCluster
) -> None:
    run_id = bench.python(target, _UNTIL_RELEASED)
    _wait_for_log(target, run_id, b"ready")

    cluster.kill_driver()

    ended = _ended(target, run_id)
    assert ended.status is RunStatus.FAILED
    assert "the driver was lost: its master calls it KILLED" in str(ended.reason), ended
    wait_for(lambda: not _driver_pids(run_id))


def test_a_worker_that_does_not_reach_the_submitter_is_told_apart(
    make: Make, bench: SparkJobBench
) -> None:
    target = make(callback_host="127.0.0.2", callback_ports="47021-47039", python="/bin/false")

    ended = _ended(target, bench.python(target, "print('never')"))

    assert ended.status is RunStatus.FAILED
    assert "the driver ended on worker 127.0.0.1:" in str(ended.reason), ended
    assert "127.0.0.2:470" in str(ended.reason)
    assert "`callback_host`" in str(ended.reason)


def test_a_lost_master_costs_no_driver_and_a_lost_worker_does(
    make: Make, bench: SparkJobBench
) -> None:
    with SparkCluster(workers=1, cores=2, memory="2g") as cluster:
        target = make(cluster, driver_alone_seconds=1)
        survivor = bench.python(target, _UNTIL_RELEASED)
        lost = bench.python(target, "import time; print('ready', flush=True); time.sleep(1000)")
        _wait_for_log(target, survivor, b"ready")
        _wait_for_log(target, lost, b"ready")

        cluster.kill_master()
        (bench.outside / "release").touch()
        survived = _ended(target, survivor)
        cluster.start_master()
        cluster.kill(cluster.workers[0])
        ended = _ended(target, lost)

    assert survived.status is RunStatus.COMPLETED, survived
    assert ended.status is RunStatus.FAILED
    assert "the driver was lost" in str(ended.reason), ended


def _answering() -> list[int]:
    """The processes that answer the launcher: children of a keeper, without the supervisor."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
            parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[1].decode()
            of_parent = Path(f"/proc/{parent}/cmdline").read_bytes()
            is_leader = (entry / "stat").read_bytes().rpartition(b")")[2].split()[3].decode()
        except OSError:
            continue
        is_child = b"keeper" in words and words == of_parent
        if is_child and is_leader != entry.name and is_running(int(entry.name)):
            found.append(int(entry.name))
    return found


def test_a_driver_on_a_worker_gets_what_it_goes_on_from_as_it_gets_its_code(
    target: ComputeTarget, bench: SparkJobBench
) -> None:
    # given an earlier run that is still where the job is submitted, and not on any worker
    first = bench.shell(target, "echo 4 > outputs/last")
    _ended(target, first)
    script = (
        "import os\nprint('from', open(os.environ['MLTRAIN_PREVIOUS_OUTPUTS'] + '/last').read())"
    )
    job = bench.job(
        target,
        "python3",
        "train.py",
        files={"train.py": script},
        previous_outputs=PreviousOutputs(first),
    )
    assert not target.start(job)

    # when
    left = bench.job(target, "true", files={"last": "4"})
    sent = PreviousOutputs(first, left.snapshot_id)
    assert target.start(replace(job, previous_outputs=sent))

    # then
    state = _ended(target, job.run_id)
    assert state.status is RunStatus.COMPLETED, state
    assert b"from 4\n" in state.log
