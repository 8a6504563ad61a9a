"""What cannot work is said in words that name the remedy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import ComputeTarget, JobState
from airflow_mltrain.targets.registry import connect
from airflow_mltrain.targets.spark_job import SparkRequest
from tests.services.jobs import TERMINAL, follow, wait_for_log
from tests.services.spark_jobs import UNTIL_RELEASED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_mltrain.settings import Settings
    from tests.services.spark_cluster import SparkCluster
    from tests.services.spark_jobs import SparkJobBench

    Make = Callable[..., ComputeTarget]

_SESSION = "from pyspark.sql import SparkSession; SparkSession.builder.getOrCreate()"
_JAVA_11 = """#!/bin/sh
echo "Error: LinkageError occurred while loading main class org.apache.spark.launcher.Main" >&2
echo "java.lang.UnsupportedClassVersionError: org/apache/spark/launcher/Main has been compiled" \
"by a more recent version of the Java Runtime (class file version 61.0), this version of the" \
"Java Runtime only recognizes class file versions up to 55.0" >&2
exit 1
"""


@pytest.fixture
def make(cluster: SparkCluster, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A target of the cluster whose settings differ as given."""

    def make(variables: dict[str, str] | None = None, **mltrain: Any) -> ComputeTarget:
        told = {**cluster.variables(), **(variables or {})}
        connection = cluster.connection_json(environment_variables=told, **mltrain)
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", connection)
        return connect("cluster", settings)

    return make


def _ended(target: ComputeTarget, run_id: str) -> JobState:
    def is_over(state: JobState) -> bool:
        return state.status in TERMINAL and len(state.log) >= (state.log_bytes or 0)

    return follow(target, run_id, is_over)


def test_no_spark_submit(make: Make, bench: SparkJobBench) -> None:
    target = make(spark_home=None)

    ended = _ended(target, bench.python(target, _SESSION))

    assert (ended.status, ended.exit_code) == (RunStatus.FAILED, 127)
    assert "there is no program 'spark-submit'" in str(ended.reason)
    assert "`spark_home`" in str(ended.reason)


def test_a_spark_home_that_has_no_spark(make: Make, bench: SparkJobBench) -> None:
    target = make(spark_home="/opt/no-such-spark")

    ended = _ended(target, bench.python(target, _SESSION))

    assert ended.exit_code == 127
    assert "SPARK_HOME = /opt/no-such-spark" in str(ended.reason)


def test_no_java(make: Make, bench: SparkJobBench, tmp_path: Path) -> None:
    target = make(variables={"JAVA_HOME": str(tmp_path)})

    ended = _ended(target, bench.python(target, _SESSION))

    assert (ended.status, ended.exit_code) == (RunStatus.FAILED, 127)
    assert f"there is no Java in JAVA_HOME = {tmp_path}" in str(ended.reason)


def test_a_java_that_is_too_old(make: Make, bench: SparkJobBench, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").write_text(_JAVA_11)
    (tmp_path / "bin" / "java").chmod(0o755)
    target = make(variables={"JAVA_HOME": str(tmp_path)})

    ended = _ended(target, bench.python(target, _SESSION))

    assert (ended.status, ended.exit_code) == (RunStatus.FAILED, None)
    assert "its Java is too old for this version of Spark" in str(ended.reason)
    assert b"UnsupportedClassVersionError" in ended.log


def test_a_package_that_does_not_resolve(target: ComputeTarget, bench: SparkJobBench) -> None:
    request = SparkRequest(packages=("org.example:no-such-thing:1.0",))

    ended = _ended(target, bench.python(target, _SESSION, spark=request))

    assert ended.status is RunStatus.FAILED
    assert "a package does not resolve (org.example#no-such-thing;1.0" in str(ended.reason)
    assert "spark.packages" in str(ended.reason)


def test_a_script_that_makes_no_session_is_told(
    target: ComputeTarget, bench: SparkJobBench
) -> None:
    request = SparkRequest(expects_session=True)

    ended = _ended(target, bench.python(target, "print('alone')", spark=request))

    assert ended.status is RunStatus.COMPLETED
    assert ended.log.startswith(b"alone\n[mltrain] no Spark session was seen")
    assert b"SparkSession.builder.getOrCreate()" in ended.log


def test_a_script_that_chooses_its_own_master_is_told(
    target: ComputeTarget, bench: SparkJobBench
) -> None:
    session = (
        "from pyspark.sql import SparkSession\n"
        "SparkSession.builder.master('local[1]').getOrCreate()\n"
    )

    run_id = bench.python(target, session + UNTIL_RELEASED)
    words = b"[mltrain] the script chose another master than its compute target's"
    wait_for_log(target, run_id, words)
    (bench.outside / "release").touch()

    assert _ended(target, run_id).status is RunStatus.COMPLETED


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"deploy-mode": "clutter"}, "deploy-mode is 'clutter'; it should be 'client'"),
        ({"mltrain": {"callback_ports": "47010-47000"}}, "callback_ports"),
        ({"mltrain": {"master_gateway": "master:6066"}}, "master_gateway"),
        ({"spark-binary": "sparky"}, "`sparky`"),
        ({"spark-home": "/opt/spark"}, "`spark-home` extra is not allowed"),
        ({"mltrain": {"edge_node": "nowhere"}}, "edge_node: there is no Airflow connection"),
        ({"mltrain": {"edge_node": "cluster"}}, "name one of type 'ssh'"),
        (
            {"mltrain": {"edge_node": "edge", "root": "/srv"}},
            "root: they are settings of the",
        ),
        ({"mltrain": {"master_pages": "master:8080"}}, "master_pages"),
        ({"mltrain": {"spark_home": "spark"}}, "spark_home"),
        ({"mltrain": {"sparkle": 1}}, "sparkle"),
    ],
)
def test_a_connection_that_cannot_be_used_is_refused(
    extra: dict[str, Any], words: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "spark", "host": "spark://127.0.0.1", "port": 7077, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))

    with pytest.raises(ConfigurationError) as refusal:
        connect("cluster", settings)

    assert "'cluster'" in str(refusal.value)
    assert words in str(refusal.value)


def test_kubernetes_needs_another_provider_which_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    master = "k8s://https://127.0.0.1:6443"
    connection = {"conn_type": "spark", "host": master, "extra": {"deploy-mode": "cluster"}}
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))

    with pytest.raises(ConfigurationError, match="install apache-airflow-providers-cncf-kub"):
        connect("cluster", settings)


def test_a_keytab_is_nowhere_on_the_machine_that_submits(
    cluster: SparkCluster,
    bench: SparkJobBench,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    connection = cluster.connection()
    connection["extra"] |= {"keytab": "a2V5dGFiLXNlY3JldA==", "principal": "me@EXAMPLE.ORG"}
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))
    target = connect("cluster", settings)

    script = (
        "import os; words = open(f'/proc/{os.getppid()}/cmdline').read().split(chr(0)); "
        "path = words[words.index('--keytab') + 1]; "
        "print(open(path).read(), oct(os.stat(path).st_mode))"
    )

    ended = _ended(target, bench.python(target, script))

    assert ended.log == b"keytab-secret 0o100600\n"
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith("airflow_keytab")]
    kept = settings.local_root.with_name("spark-cluster") / "runs" / bench.run_ids[-1]
    words = [path.read_bytes() for path in kept.rglob("*") if path.is_file()]
    assert words
    assert not [one for one in words if b"a2V5dGFi" in one or one == b"keytab-secret"]
