"""Sessions with job agents that are processes of this machine, and threads that ask."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from airflow_mltrain.targets.agent_session import AgentSession
from tests.services.agent_process import AgentProcess


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentProcess]:
    agent = AgentProcess(tmp_path / "root")
    yield agent
    for stream in agent.streams:
        with suppress(ProcessLookupError):
            os.kill(stream.pid, signal.SIGCONT)
        stream.cut()


@pytest.fixture
def session(agent: AgentProcess) -> AgentSession:
    return agent.open_session()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool
