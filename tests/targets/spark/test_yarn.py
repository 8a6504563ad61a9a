"""Drivers on YARN: what becomes of a run when answers, drivers or submitters are lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.runtime.job_agent.spark.yarn import tag_of
from airflow_mltrain.targets.registry import connect
from airflow_mltrain.targets.spark_job import SparkRequest
from tests.fakes.local_yarn import LocalYarn
from tests.services.jobs import (
    kill_supervisor,
    pids_carrying,
    wait_for,
    wait_for_log,
    wait_until_ended,
)
from tests.services.spark_jobs import UNTIL_RELEASED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget
    from tests.services.spark_jobs import SparkJobBench

    Make = Callable[..., ComputeTarget]

_KEYTAB = {"keytab": "a2V5dGFiLXNlY3JldA==", "principal": "me@EXAMPLE.ORG"}  # keytab-secret
_ALL_OF_IT = """
import mltrain, mylib, os, sys
run = mltrain.Run.get_context()
run.log("accuracy", 0.5)
print("here", mylib.NAME, run.id, sys.argv[1:], len(os.environ["MY_SECRET"]), flush=True)
open("outputs/model", "w").write("weights")
sys.stdout.buffer.write(bytes(range(256)))
sys.stdout.flush()
sys.exit(3)
"""


@pytest.fixture
def yarn(tmp_path: Path) -> Iterator[LocalYarn]:
    with LocalYarn(tmp_path / "a-yarn") as yarn:
        yield yarn


@pytest.fixture
def make(yarn: LocalYarn, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A target that puts drivers on YARN."""

    def make(**mltrain: Any) -> ComputeTarget:
        told = {"driver_alone_seconds": 5, **mltrain}
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(yarn.connection(**told)))
        return connect("cluster", settings)

    return make


@pytest.fixture
def target(make: Make) -> ComputeTarget:
    return make()


def _is_submitter(pid: int) -> bool:
    try:
        return b"job_agent.cluster.launcher" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False  # it has ended meanwhile


def _kept(target: ComputeTarget, run_id: str, folder: Path) -> Path:
    folder.mkdir()
    target.fetch(run_id, folder)
    return folder


def test_a_script_runs_on_yarn_and_all_of_it_comes_back(
    target: ComputeTarget, bench: SparkJobBench, yarn: LocalYarn, tmp_path: Path
) -> None:
    arguments = ["a b", "x'\"\n$HOME", ""]
    request = SparkRequest(
        properties={
            "spark.a": "ours",
            "spark.hadoop.fs.s3a.secret.key": "k3y",
            "spark.mongodb.read.connection.uri": "mongodb://me:k3y-too@host",
            "spark.plain": "k3y-by-reference",
        },
        secret_names=frozenset({"spark.plain"}),
        driver_memory="2g",
        driver_cores=2,
        executor_instances=3,
    )

    job = bench.job(
        target,
        "python3",
        "train.py",
        *arguments,
        files={"train.py": _ALL_OF_IT, "mylib.py": "NAME = 'ours'\n"},
        secret_variables={"MY_SECRET": "s3cret"},
        spark=request,
    )
    target.start(job)
    ended = wait_until_ended(target, job.run_id)

    assert (ended.status, ended.exit_code) == (RunStatus.FAILED, 3), ended
    assert f"here ours {job.run_id} {arguments!r} 6\n".encode() in ended.log
    assert bytes(range(256)) in ended.log
    (place,) = yarn.places
    facts = [json.loads(line) for line in ended.metrics.splitlines()]
    known = {fact["name"]: fact["value"] for fact in facts if fact["type"] == "fact"}
    assert known["spark.application_id"] == place.parent.name
    assert known["spark.ui_url"].startswith("http://rm.example.org:8088/proxy/application_")
    assert "accuracy" in [fact["name"] for fact in facts]
    kept = _kept(target, job.run_id, tmp_path / "kept")
    assert (kept / "outputs/model").read_text() == "weights"
    assert "LogType:stderr" in (kept / "logs/spark.log").read_text()

    # and what YARN was told
    (submitted,) = yarn.submissions
    told = yarn.facts(place)
    assert told["tags"] == [tag_of(job.run_id)]
    assert told["properties"]["spark.a"] == "ours"
    assert told["properties"]["spark.driver.cores"] == "2"
    for words in ("--queue training", "--driver-memory 2g", "--num-executors 3"):
        assert words in " ".join(submitted)

    # while secrets are given to the driver alone
    assert "k3y" not in json.dumps(told)
    assert "s3cret" not in json.dumps(told)
    token = told["properties"]["spark.yarn.appMasterEnv.MLTRAIN_SPARK_TOKEN"]
    assert token not in json.dumps(submitted)
    of_java = dict(map(json.loads, (place / "properties").read_text().splitlines()))
    assert of_java["spark.hadoop.fs.s3a.secret.key"] == "k3y"
    assert of_java["spark.mongodb.read.connection.uri"].endswith("k3y-too@host")
    assert of_java["spark.plain"] == "k3y-by-reference"
    assert of_java["spark.files"] == of_java["spark.submit.pyFiles"]
    assert of_java["spark.files"].endswith("/code.zip")


def test_an_answer_that_is_lost_is_looked_up_by_the_tag_of_the_run(
    target: ComputeTarget, bench: SparkJobBench, yarn: LocalYarn
) -> None:
    yarn.set("loses-answer")

    run_id = bench.python(target, UNTIL_RELEASED)
    wait_for_log(target, run_id, b"ready")
    (bench.outside / "release").touch()
    ended = wait_until_ended(target, run_id)

    assert ended.status is RunStatus.COMPLETED, ended
    assert len(yarn.submissions) == len(yarn.places) == 1
    assert len(list(bench.outside.glob("began-*"))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("a" * 128 + "_1764300000_1", "a" * 128 + "_1764300000_2"), ("Churn_1", "churn_1")],
)
def test_no_two_runs_have_the_same_tag(one: str, other: str) -> None:
    assert tag_of(one) != tag_of(other)
    assert len(tag_of(one)) <= 100


def test_two_applications_of_one_run_run_its_script_once(
    make: Make, bench: SparkJobBench, yarn: LocalYarn
) -> None:
    # given an answer that is lost, and an application that is not shown for a while
    yarn.set("loses-answer")
    yarn.set("is-deaf")
    target = make()
    run_id = bench.python(target, UNTIL_RELEASED)
    wait_for_log(target, run_id, b"the master does not answer")
    yarn.set("hides-once")
    yarn.mend("is-deaf")

    # when
    wait_for_log(target, run_id, b"ready")
    assert len(yarn.places) == 2
    wait_for(lambda: len(yarn.running) == 1)  # the other was turned away
    (bench.outside / "release").touch()
    ended = wait_until_ended(target, run_id)

    # then
    assert ended.status is RunStatus.COMPLETED, ended
    assert len(list(bench.outside.glob("began-*"))) == 1
    wait_for(lambda: not yarn.running)


def test_a_cancel_lets_the_script_save_and_leaves_no_application(
    target: ComputeTarget, bench: SparkJobBench, yarn: LocalYarn, tmp_path: Path
) -> None:
    saves = """
import signal, sys
def save(*_):
    open("outputs/model", "w").write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
"""
    run_id = bench.python(target, saves + UNTIL_RELEASED, cancel_grace_seconds=20.0)
    wait_for_log(target, run_id, b"ready")

    target.cancel(run_id)
    ended = wait_until_ended(target, run_id)

    assert (ended.status, ended.exit_code) == (RunStatus.CANCELED, 0), ended
    wait_for(lambda: not yarn.running)
    assert not pids_carrying(f"{run_id}.driver")
    kept = _kept(target, run_id, tmp_path / "kept")
    assert (kept / "outputs/model").read_text() == "saved"


def test_a_driver_is_heard_while_its_master_says_nothing(
    target: ComputeTarget, bench: SparkJobBench, yarn: LocalYarn
) -> None:
    # given a question that gets no answer, when the driver begins
    yarn.set("is-full")
    yarn.set("is-silent")
    run_id = bench.python(target, UNTIL_RELEASED)
    wait_for((yarn.folder / "was-asked").exists)
    yarn.mend("is-full")

    # when it calls, and its patience is shorter than that of the question
    wait_for_log(target, run_id, b"ready")
    (bench.outside / "release").touch()
    ended = wait_until_ended(target, run_id)

    # then
    assert ended.status is RunStatus.COMPLETED, ended
    assert len(yarn.places) == 1


def test_a_cancel_ends_an_application_that_waits_for_room(
    target: ComputeTarget, bench: SparkJobBench, yarn: LocalYarn
) -> None:
    yarn.set("is-full")
    run_id = bench.python(target, UNTIL_RELEASED)
    wait_for_log(target, run_id, b"was submitted to yarn as application_")

    target.cancel(run_id)
    ended = wait_until_ended(target, run_id)

    assert ended.status is RunStatus.CANCELED, ended
    (place,) = yarn.places
    assert yarn.is_killed(place)


def test_a_driver_ends_with_the_one_who_submitted_it(
    target: ComputeTarget, bench: SparkJobBench, yarn: LocalYarn, settings: Settings
) -> None:
    run_id = bench.python(target, UNTIL_RELEASED)
    wait_for_log(target, run_id, b"ready")

    kill_supervisor(settings.local_root.with_name("spark-cluster"), run_id)

    assert wait_until_ended(target, run_id).status is RunStatus.FAILED
    wait_for(lambda: not yarn.running)
    wait_for(lambda: not pids_carrying(f"{run_id}.driver"))
    assert len(list(bench.outside.glob("began-*"))) == 1


def test_a_lost_application_is_a_failed_run_that_says_what_yarn_says(
    target: ComputeTarget, bench: SparkJobBench, yarn: LocalYarn
) -> None:
    run_id = bench.python(target, UNTIL_RELEASED)
    wait_for_log(target, run_id, b"ready")

    yarn.lose(*yarn.running)

    ended = wait_until_ended(target, run_id)
    assert ended.status is RunStatus.FAILED
    assert "the driver was lost: its master calls it FAILED" in str(ended.reason), ended
    assert "exitCode: 137" in str(ended.reason)
    assert ended.exit_code is None, "which is no word of the script's"
    assert not pids_carrying(f"{run_id}.driver")


def test_a_submitter_that_is_killed_leaves_no_exit_code_that_might_be_the_scripts(
    target: ComputeTarget, bench: SparkJobBench
) -> None:
    run_id = bench.python(target, UNTIL_RELEASED)
    wait_for_log(target, run_id, b"ready")
    (submitter,) = [pid for pid in pids_carrying(run_id) if _is_submitter(pid)]

    os.kill(submitter, signal.SIGKILL)

    ended = wait_until_ended(target, run_id)
    assert (ended.status, ended.exit_code) == (RunStatus.FAILED, None), ended
    wait_for(lambda: not pids_carrying(f"{run_id}.driver"))


def test_what_yarn_refuses_is_said_in_its_words(
    target: ComputeTarget, bench: SparkJobBench, yarn: LocalYarn
) -> None:
    yarn.set("refuses")

    ended = wait_until_ended(target, bench.python(target, "print('never')"))

    assert ended.status is RunStatus.FAILED
    assert "YARN did not take the driver" in str(ended.reason)
    assert "above the max threshold (8192 MB)" in str(ended.reason)
    assert "Client.scala" not in str(ended.reason)


def test_a_manager_that_was_away_is_asked_again(
    target: ComputeTarget, bench: SparkJobBench, yarn: LocalYarn
) -> None:
    yarn.set("is-unreached-once")  # and there again when it is asked what it has

    ended = wait_until_ended(target, bench.python(target, "print('done')"))

    assert ended.status is RunStatus.COMPLETED, ended
    assert len(yarn.submissions) == 2
    assert b"the master does not answer: spark-submit: " in ended.log


def test_a_queue_without_room_is_waited_for_as_long_as_the_target_says(
    make: Make, bench: SparkJobBench, yarn: LocalYarn
) -> None:
    yarn.set("is-full")
    target = make(executor_timeout_seconds=3)

    ended = wait_until_ended(target, bench.python(target, "print('never')"))

    assert ended.status is RunStatus.FAILED
    assert "no worker has taken the driver" in str(ended.reason), ended
    assert "AM container is not yet allocated" in str(ended.reason)
    assert "`executor_timeout_seconds`" in str(ended.reason)
    (place,) = yarn.places
    assert yarn.is_killed(place)


def test_a_keytab_without_kinit_is_refused_before_anything_is_submitted(
    bench: SparkJobBench, yarn: LocalYarn, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = yarn.folder / "bare"
    bare.mkdir()
    for program in ("sh", "python3"):
        (bare / program).symlink_to(str(shutil.which(program)))
    connection = yarn.connection()
    connection["extra"] |= _KEYTAB
    connection["extra"]["mltrain"]["environment_variables"]["PATH"] = str(bare)
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))
    target = connect("cluster", settings)

    ended = wait_until_ended(target, bench.python(target, "print('never')"))

    assert (ended.status, ended.exit_code) == (RunStatus.FAILED, 127), ended
    assert "there is no program 'kinit'" in str(ended.reason)
    assert not yarn.places
    kept = settings.local_root.with_name("spark-cluster") / "runs" / bench.run_ids[-1]
    files = [path.read_bytes() for path in kept.rglob("*") if path.is_file()]
    assert not [one for one in files if b"keytab-secret" in one]


def test_a_keytab_gives_the_ticket_by_which_yarn_is_asked(
    bench: SparkJobBench, yarn: LocalYarn, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    yarn.set("wants-tickets")
    yarn.set("is-full")
    connection = yarn.connection()
    connection["extra"] |= _KEYTAB
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))
    target = connect("cluster", settings)
    run_id = bench.python(target, UNTIL_RELEASED)
    folder = settings.local_root.with_name("spark-cluster") / "runs" / run_id
    wait_for(lambda: list(folder.rglob("tickets")))

    # when the ticket is no good any more
    (tickets,) = folder.rglob("tickets")
    tickets.unlink()
    wait_for(lambda: len((yarn.folder / "logins").read_text().splitlines()) > 1)
    target.cancel(run_id)
    ended = wait_until_ended(target, run_id)

    # then
    assert ended.status is RunStatus.CANCELED, ended
    assert set((yarn.folder / "logins").read_text().split()) == {"me@EXAMPLE.ORG"}
    (place,) = yarn.places
    assert yarn.is_killed(place)
    kept = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not [one for one in kept if b"keytab-secret" in one]


def test_without_the_program_yarn_nothing_is_submitted_and_the_check_says_so(
    make: Make, bench: SparkJobBench, yarn: LocalYarn
) -> None:
    shutil.rmtree(yarn.folder / "hadoop")
    target = make()

    ended = wait_until_ended(target, bench.python(target, "print('never')"))
    findings = {one.subject: one for one in target.check()}

    assert (ended.status, ended.exit_code) == (RunStatus.FAILED, 127), ended
    assert "there is no program 'yarn'" in str(ended.reason)
    assert "HADOOP_HOME" in str(ended.reason)
    assert "no program 'yarn'" in findings["yarn"].text
    assert not yarn.places
