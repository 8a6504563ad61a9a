"""Drivers on Kubernetes: what becomes of a run when answers, drivers or submitters are lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.apache.spark.hooks import spark_submit

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.registry import connect
from airflow_mltrain.targets.spark_job import SparkRequest
from tests.fakes.local_kubernetes import LocalKubernetes
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
    from pathlib import Path

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget
    from tests.services.spark_jobs import SparkJobBench

    Make = Callable[..., ComputeTarget]


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[LocalKubernetes]:
    with LocalKubernetes(tmp_path / "a-kubernetes") as kubernetes:
        yield kubernetes


@pytest.fixture
def make(kubernetes: LocalKubernetes, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A target that puts drivers on Kubernetes."""
    # As if the provider of Kubernetes were installed, which the Spark provider wants to be there.
    monkeypatch.setattr(spark_submit, "kube_client", object(), raising=False)

    def make(**mltrain: Any) -> ComputeTarget:
        told = {"driver_alone_seconds": 5, **mltrain}
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(kubernetes.connection(**told)))
        return connect("cluster", settings)

    return make


@pytest.fixture
def target(make: Make) -> ComputeTarget:
    return make()


def test_a_script_runs_in_a_pod_of_its_run_and_comes_back(
    target: ComputeTarget, bench: SparkJobBench, kubernetes: LocalKubernetes, tmp_path: Path
) -> None:
    request = SparkRequest(
        properties={
            "spark.kubernetes.container.image": "spark:4.2.0",
            "spark.kubernetes.authenticate.submission.oauthToken": "l0gin",
            "spark.kubernetes.driver.secretKeyRef.DATABASE": "login:password",
            "spark.hadoop.fs.s3a.secret.key": "k3y",
        },
        driver_cores=2,
    )
    script = "import mylib, sys\nopen('outputs/model', 'w').write(mylib.NAME + sys.argv[1])"
    files = {"train.py": script, "mylib.py": "NAME = 'ours'\n"}

    job = bench.job(target, "python3", "train.py", " $X\n", files=files, spark=request)
    target.start(job)
    ended = wait_until_ended(target, job.run_id)

    assert ended.status is RunStatus.COMPLETED, ended
    (tmp_path / "kept").mkdir()
    target.fetch(job.run_id, tmp_path / "kept")
    assert (tmp_path / "kept/outputs/model").read_text() == "ours $X\n"
    (place,) = kubernetes.places
    facts = [json.loads(line) for line in ended.metrics.splitlines()]
    known = {fact["name"]: fact["value"] for fact in facts}
    assert known["spark.driver_pod"] == f"training/{place.parent.name}"

    # and what Kubernetes was told has the login of the submission, and no other secret
    # (the name of one that it keeps itself is none)
    told = kubernetes.facts(place)["properties"]
    assert told["spark.kubernetes.driver.label.mltrain-run-id"] == job.run_id
    assert told["spark.kubernetes.container.image"] == "spark:4.2.0"
    assert told["spark.kubernetes.driver.secretKeyRef.DATABASE"] == "login:password"
    assert told["spark.driver.cores"] == "2"
    assert told["spark.kubernetes.authenticate.submission.oauthToken"] == "l0gin"
    assert "k3y" not in json.dumps(told)
    of_java = dict(map(json.loads, (place / "properties").read_text().splitlines()))
    assert of_java["spark.hadoop.fs.s3a.secret.key"] == "k3y"


def test_a_pod_that_was_half_made_when_the_answer_was_lost_is_made_anew(
    target: ComputeTarget, bench: SparkJobBench, kubernetes: LocalKubernetes
) -> None:
    kubernetes.set("loses-answer-to-pod")

    run_id = bench.python(target, UNTIL_RELEASED)
    wait_for_log(target, run_id, b"ready")
    (bench.outside / "release").touch()
    ended = wait_until_ended(target, run_id)

    assert ended.status is RunStatus.COMPLETED, ended
    assert (len(kubernetes.submissions), len(kubernetes.places)) == (2, 1)
    assert len(list(bench.outside.glob("began-*"))) == 1


def test_a_second_submission_of_a_run_meets_the_pod_of_the_first(
    target: ComputeTarget, bench: SparkJobBench, kubernetes: LocalKubernetes
) -> None:
    # given an answer that is lost, and a cluster that cannot be asked for a while
    kubernetes.set("loses-answer")
    kubernetes.set("is-deaf-to-questions")
    run_id = bench.python(target, UNTIL_RELEASED)
    wait_for_log(target, run_id, b"the master does not answer")
    kubernetes.mend("is-deaf-to-questions")

    # when
    wait_for_log(target, run_id, b"ready")
    (bench.outside / "release").touch()
    ended = wait_until_ended(target, run_id)

    # then
    assert ended.status is RunStatus.COMPLETED, ended
    assert (len(kubernetes.submissions), len(kubernetes.places)) == (2, 1)
    assert len(list(bench.outside.glob("began-*"))) == 1


def test_a_cancel_ends_the_pod(
    target: ComputeTarget, bench: SparkJobBench, kubernetes: LocalKubernetes
) -> None:
    run_id = bench.python(target, UNTIL_RELEASED, cancel_grace_seconds=10.0)
    wait_for_log(target, run_id, b"ready")

    target.cancel(run_id)
    ended = wait_until_ended(target, run_id)

    assert ended.status is RunStatus.CANCELED, ended
    assert not kubernetes.running
    assert not pids_carrying(f"{run_id}.driver")


def test_a_driver_ends_with_the_one_who_submitted_it(
    target: ComputeTarget,
    bench: SparkJobBench,
    kubernetes: LocalKubernetes,
    settings: Settings,
) -> None:
    run_id = bench.python(target, UNTIL_RELEASED)
    wait_for_log(target, run_id, b"ready")

    kill_supervisor(settings.local_root.with_name("spark-cluster"), run_id)

    assert wait_until_ended(target, run_id).status is RunStatus.FAILED
    wait_for(lambda: not kubernetes.running)
    wait_for(lambda: not pids_carrying(f"{run_id}.driver"))


def test_a_lost_pod_is_a_failed_run_that_says_why(
    target: ComputeTarget, bench: SparkJobBench, kubernetes: LocalKubernetes
) -> None:
    run_id = bench.python(target, UNTIL_RELEASED)
    wait_for_log(target, run_id, b"ready")

    kubernetes.lose(*kubernetes.running)

    ended = wait_until_ended(target, run_id)
    assert ended.status is RunStatus.FAILED
    assert "termination reason OOMKilled, exit code 137" in str(ended.reason), ended
    assert "on worker node-1" in str(ended.reason)
    assert b"kubectl logs --namespace training mltrain-" in ended.log
