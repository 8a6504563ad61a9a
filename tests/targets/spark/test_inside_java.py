"""A script beside a real Java that its master has begun, with executors of a real cluster."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from airflow.providers.apache.spark.hooks import spark_submit

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.registry import connect
from airflow_mltrain.targets.spark_job import SparkRequest
from tests.fakes.kubernetes_api import KubernetesApi
from tests.fakes.local_yarn import LocalYarn
from tests.services.environments import environment_request
from tests.services.jobs import follow, wait_for, wait_until_ended
from tests.services.package_index import package_index
from tests.services.spark_cluster import quick_java

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from airflow_mltrain.settings import Settings
    from tests.services.spark_cluster import SparkCluster
    from tests.services.spark_jobs import SparkJobBench

_AT_BOTH = """
import alpha, mltrain, mylib, os, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext
mltrain.Run.get_context().log("accuracy", 0.5)
print("here", alpha.__version__, mylib.NAME, sys.argv[1:], flush=True)
def look(_):
    import alpha, mylib, sys
    return alpha.__version__, mylib.NAME, "/environment/bin/" in sys.executable
print("there", sc.parallelize(range(2), 2).map(look).collect())
print("known", sc.getConf().get("spark.my.secret"), spark.conf.get("spark.mltrain.runId"))
open("outputs/model", "w").write("weights")
sys.exit(3)
"""


_UNTIL_KILLED = """
from pyspark.sql import SparkSession
sc = SparkSession.builder.getOrCreate().sparkContext
print("there", sc.parallelize(range(2), 2).map(lambda _: __import__("mylib").NAME).collect())
import sys, time
sys.stdout.flush()
time.sleep(1000)
"""


def _java(cluster: SparkCluster) -> tuple[str, ...]:
    """What begins the Java of a driver, in place of an image or of an application master."""
    return (
        *("env", "SPARK_LOCAL_IP=127.0.0.1", f"PYSPARK_DRIVER_PYTHON={sys.executable}"),
        *(f"{name}={value}" for name, value in quick_java().items()),
        *(str(cluster.home / "bin/spark-submit"), "--master", cluster.master_url),
        *("--deploy-mode", "client", "--conf", "spark.driver.host=127.0.0.1"),
        *("--conf", "spark.driver.port=0", "--conf", "spark.driver.blockManager.port=0"),
    )


def test_environment_modules_and_properties_reach_driver_and_executors(
    bench: SparkJobBench,
    cluster: SparkCluster,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # given a YARN whose driver is begun as an application master begins it: by PythonRunner
    arguments = ["a b", "x'\"\n$HOME", ""]
    files = {"train.py": _AT_BOTH, "mylib.py": "NAME = 'ours'\n"}
    request = SparkRequest(properties={"spark.my.secret": "k3y"})

    # when
    with (
        LocalYarn(tmp_path / "yarn", _java(cluster)) as yarn,
        package_index(tmp_path / "index") as index,
    ):
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(yarn.connection()))
        target = connect("cluster", settings)
        index.add("alpha", "1.0")
        environment = environment_request(index, "alpha")
        job = bench.job(
            target,
            "python",
            "train.py",
            *arguments,
            files=files,
            environment=environment,
            spark=request,
        )
        target.start(job)
        ended = wait_until_ended(target, job.run_id)
        wait_for(lambda: not yarn.running)

    # then
    assert (ended.status, ended.exit_code) == (RunStatus.FAILED, 3), ended
    assert f"here 1.0 ours {arguments!r}\n".encode() in ended.log
    assert b"there [('1.0', 'ours', True), ('1.0', 'ours', True)]\n" in ended.log
    assert f"known k3y {job.run_id}\n".encode() in ended.log
    assert b"[mltrain] Spark application app-" in ended.log
    wait_for(lambda: not cluster.active_applications())


def test_spark_submit_puts_a_driver_into_a_pod_and_a_cancel_ends_it(
    bench: SparkJobBench,
    cluster: SparkCluster,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # As if the provider of Kubernetes were installed, which the Spark provider wants to be there.
    monkeypatch.setattr(spark_submit, "kube_client", object(), raising=False)
    with KubernetesApi(tmp_path / "pods", _java(cluster)) as api:
        # given a real spark-submit, and an API that is asked by it
        connection = {
            "conn_type": "spark",
            "host": "k8s://http://127.0.0.1",
            "port": api.port,
            "extra": {
                "deploy-mode": "cluster",
                "namespace": "training",
                "mltrain": {
                    "callback_host": "127.0.0.1",
                    "spark_home": str(cluster.home),
                    "python": sys.executable,
                    "environment_variables": {"SPARK_LOCAL_IP": "127.0.0.1", **quick_java()},
                },
            },
        }
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))
        target = connect("cluster", settings)
        request = SparkRequest(properties={"spark.kubernetes.container.image": "spark:4.2.0"})
        files = {"train.py": _UNTIL_KILLED, "mylib.py": "NAME = 'ours'\n"}
        job = bench.job(target, "python", "train.py", files=files, spark=request)

        # when
        target.start(job)
        begun = follow(target, job.run_id, lambda state: b"there" in state.log)
        (name,) = api.running
        pod = api.pods[name]
        target.cancel(job.run_id)
        ended = wait_until_ended(target, job.run_id)

    # then
    assert b"there ['ours', 'ours']\n" in begun.log
    assert f"the driver runs as {name}\n".encode() in begun.log
    assert len(api.pods) == 1
    assert pod["metadata"]["labels"]["mltrain-run-id"] == job.run_id
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "1433Mi"  # 1 GiB, and 0.4 of it beside
    assert ended.status is RunStatus.CANCELED, ended
    assert not api.running
    wait_for(lambda: not cluster.active_applications())
