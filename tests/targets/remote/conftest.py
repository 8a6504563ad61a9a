"""A machine elsewhere whose agents and streams break as a test says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_mltrain.targets.remote_machine import RemoteMachine
from tests.services.fragile_agent import FragileAgent, FragileAgents
from tests.services.jobs import JobBench, require_quiet


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[JobBench]:
    bench = JobBench(tmp_path / "bench")
    yield bench
    require_quiet(bench)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "the machine's root"


@pytest.fixture
def agents(root: Path) -> Iterator[FragileAgents]:
    with FragileAgents(root) as agents:
        yield agents


@pytest.fixture
def agent(agents: FragileAgents) -> FragileAgent:
    return agents.place()


@pytest.fixture
def target(agent: FragileAgent) -> RemoteMachine:
    return agent.target()
