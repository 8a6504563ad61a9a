"""From the facts of a driver's machine to what they mean for drivers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from airflow_mltrain.targets.finding import Finding, FindingLevel

_OK, _WARNING, _FAULT = FindingLevel.OK, FindingLevel.WARNING, FindingLevel.FAULT
_SETTINGS: Final = "in the compute target's settings"


def judge_spark(facts: Mapping[str, Any], master: str) -> Iterator[Finding]:
    """Findings on what the job agent's `examine_spark` told; what is not ok has a remedy."""
    yield _judge_submit(facts["submit"], facts["cluster_version"])
    yield _judge_java(facts["java"])
    if facts["yarn"] is not None:
        yield _judge_yarn(facts["yarn"])
    yield _judge_master(facts, master)


def judge_gateway(facts: Mapping[str, Any], master: str) -> Iterator[Finding]:
    """The same, for drivers that the master is to put on its cluster."""
    found = facts["gateway"]
    if "error" in found:
        remedy = (
            "set spark.master.rest.enabled for the master, and name the gateway's address as "
            f"`master_gateway` {_SETTINGS}"
        )
        yield Finding("gateway", _FAULT, f"does not answer: {found['error']}", remedy)
    else:
        yield Finding("gateway", _OK, f"of Spark {found['version']}, takes drivers")
    yield _judge_master(facts, master)


def _judge_submit(facts: Mapping[str, Any], cluster_version: str | None) -> Finding:
    if "error" in facts:
        what, _, remedy = facts["error"].partition(": ")
        return Finding("spark", _FAULT, what, remedy)
    version = facts["version"]
    text = f"Spark {version or 'of unknown version'} ({facts['path']})"
    if None not in (version, cluster_version) and version != cluster_version:
        remedy = f"install the cluster's version there, and name it as `spark_home` {_SETTINGS}"
        return Finding("spark", _FAULT, f"{text}; the cluster's is {cluster_version}", remedy)
    return Finding("spark", _OK, text)


def _judge_java(facts: Mapping[str, Any]) -> Finding:
    if "error" in facts:
        what, _, remedy = facts["error"].partition(": ")
        return Finding("java", _FAULT, what, remedy)
    return Finding("java", _OK, f"{facts['version']} ({facts['path']})")


def _judge_yarn(facts: Mapping[str, Any]) -> Finding:
    if "error" in facts:
        what, _, remedy = facts["error"].partition(": ")
        return Finding("yarn", _FAULT, what, remedy)
    return Finding("yarn", _OK, str(facts["path"]))


def _judge_master(facts: Mapping[str, Any], master: str) -> Finding:
    if not master.startswith("spark://"):
        return Finding("master", _OK, f"{master}, which is not asked")
    if facts["deaf_master"] is not None:
        remedy = "see that it runs, and that host and port of the connection are right"
        return Finding("master", _FAULT, f"does not answer: {facts['deaf_master']}", remedy)
    workers = facts["workers"]
    if workers is None:
        remedy = f"name the master's pages as `master_pages` {_SETTINGS}"
        text = f"{master} answers; its pages do not, so nothing is known of its workers"
        return Finding("master", _WARNING, text, remedy)
    if not workers:
        remedy = "start a worker; until then, runs wait for executors"
        return Finding("master", _WARNING, f"{master} has no live worker", remedy)
    cores, free = (sum(one[key] for one in workers) for key in ("cores", "cores_free"))
    text = (
        f"{master}: {len(workers)} workers, {free} of {cores} cores free, at most "
        f"{max(one['memory'] for one in workers)} MiB of memory for an executor"
    )
    return Finding("master", _OK, text)
