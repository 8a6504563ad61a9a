"""What a look at a Spark target says of its driver's machine and of its master."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.targets.base import ComputeTarget
from airflow_mltrain.targets.check import FindingLevel, has_fault
from airflow_mltrain.targets.registry import connect
from airflow_mltrain.targets.spark.check import judge_spark
from scripts.free_port import find_free_port
from tests.services.ssh_host import SshHost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mltrain.settings import Settings
    from tests.services.spark_cluster import SparkCluster


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    with SshHost() as host:
        yield host


def test_spark_java_and_the_workers_are_shown(target: ComputeTarget) -> None:
    findings = target.check()

    by_subject = {finding.subject: finding for finding in findings}
    assert not has_fault(findings)
    assert by_subject["spark"].text.startswith("Spark 4.")
    assert "17" in by_subject["java"].text
    assert "2 workers, 2 of 2 cores free, at most 1024 MiB" in by_subject["master"].text


def test_an_edge_node_is_looked_at_where_it_is(
    cluster: SparkCluster, host: SshHost, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_EDGE", host.connection_json())
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", cluster.connection_json(edge_node="edge"))

    findings = connect("cluster", settings).check()

    by_subject = {finding.subject: finding for finding in findings}
    assert not has_fault(findings)
    assert "trainer on host-" in by_subject["login"].text
    assert by_subject["spark"].level is FindingLevel.OK


def test_what_is_missing_is_a_fault_with_a_remedy(
    cluster: SparkCluster, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = cluster.connection(spark_home="/opt/none", environment_variables=None)
    connection["port"] = find_free_port()
    monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))

    findings = connect("cluster", settings).check()

    faults = {one.subject: one for one in findings if one.level is FindingLevel.FAULT}
    assert set(faults) == {"spark", "master"}
    assert "/opt/none" in faults["spark"].text
    assert "`spark_home`" in str(faults["spark"].remedy)
    assert "does not answer" in faults["master"].text


def test_of_deploy_mode_cluster_the_gateway_is_looked_at(
    cluster: SparkCluster, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for port in (cluster.rest_port, find_free_port()):
        connection = cluster.cluster_connection(master_gateway=f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(connection))
        found.append({one.subject: one for one in connect("cluster", settings).check()})

    reached, deaf = found
    assert reached["gateway"].level is FindingLevel.OK
    assert reached["gateway"].text.startswith("of Spark 4.")
    assert "java" not in reached
    assert deaf["gateway"].level is FindingLevel.FAULT
    assert "`master_gateway`" in str(deaf["gateway"].remedy)


def test_another_version_than_the_clusters_is_a_fault() -> None:
    facts: dict[str, Any] = {
        "submit": {"path": "/opt/spark/bin/spark-submit", "version": "3.5.1"},
        "java": {"path": "/usr/bin/java", "version": 'openjdk version "17"'},
        "deaf_master": None,
        "cluster_version": "4.2.0",
        "workers": [],
        "gateway": None,
        "yarn": None,
    }

    spark, java, master = judge_spark(facts, "spark://master:7077")

    assert (spark.level, java.level) == (FindingLevel.FAULT, FindingLevel.OK)
    assert "the cluster's is 4.2.0" in spark.text
    assert master.level is FindingLevel.WARNING
