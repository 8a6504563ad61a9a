"""How far a pod is, by what spark-submit shows of it."""

from __future__ import annotations

import pytest

from airflow_mltrain.runtime.job_agent.spark.kubernetes import phase_of
from airflow_mltrain.runtime.job_agent.spark.master import Phase


@pytest.mark.parametrize(
    ("phase", "containers", "expected"),
    [
        ("Pending", ["waiting"], Phase.WAITING),
        ("Running", ["running"], Phase.RUNNING),
        ("Succeeded", ["terminated"], Phase.OVER),
        ("Failed", ["terminated"], Phase.OVER),
        ("Failed", ["terminated", "terminated"], Phase.OVER),
        ("Failed", ["running"], Phase.SUPPOSED_OVER),  # its node is gone
        ("Failed", ["running", "terminated"], Phase.SUPPOSED_OVER),
        ("Failed", [], Phase.SUPPOSED_OVER),  # it was put off its node
        ("Unknown", ["running"], Phase.SUPPOSED_OVER),
    ],
)
def test_a_pod_is_over_when_its_containers_were_seen_to_end(
    phase: str, containers: list[str], expected: Phase
) -> None:
    shown = f"\t pod name: driver\n\t phase: {phase}\n\t container status: \n"
    for state in containers:
        shown += f"\t\t container name: c\n\t\t container state: {state}\n"

    assert phase_of(shown) is expected
