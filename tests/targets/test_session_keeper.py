"""One session per machine and process: shared by threads, renewed when lost, not inherited."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.targets.agent_session import AgentSession
from airflow_mltrain.targets.session_keeper import SessionKeeper, keeper_of
from tests.services.agent_process import AgentProcess
from tests.services.jobs import is_running, wait_for

_FORK = """
import os, sys, threading
from pathlib import Path
from airflow_mltrain.targets.session_keeper import keeper_of
from tests.services.agent_process import AgentProcess

def ask():
    session = keeper.session()
    assert session.ask("begun", digests=[]) == {}
    return session

def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)

agent = AgentProcess(Path(sys.argv[1]))
"""
_AFTER_USE = """
keeper = keeper_of("machine", agent.open_session)
before = ask()

def work():
    assert ask() is not before
    assert keeper_of("machine", agent.open_session) is not keeper
    print("agents", len(agent.streams), flush=True)
    keeper.close()

in_child(work)
in_child(work)
print("same", ask() is before)
print("agents", len(agent.streams))
keeper.close()
"""
_WHILE_OPENING = """
is_opening, may_open = threading.Event(), threading.Event()

def open_session():
    is_opening.set()
    may_open.wait()
    return agent.open_session()

keeper = keeper_of("machine", open_session)
keeper.begin()
is_opening.wait()

def work():
    may_open.set()
    ask().close()

in_child(work)
may_open.set()
ask().close()
print("agents", len(agent.streams))
"""
_WHILE_ASKED_FOR = """
keeper = keeper_of("machine", agent.open_session)
before = ask()
is_over = threading.Event()

def ask_on():
    while not is_over.is_set():
        ask()

askers = [threading.Thread(target=ask_on) for _ in range(4)]
for asker in askers: asker.start()
for _ in range(10): in_child(lambda: ask().close())
is_over.set()
for asker in askers: asker.join()
print("same", ask() is before)
keeper.close()
"""


@pytest.fixture
def agent(tmp_path: Path) -> AgentProcess:
    return AgentProcess(tmp_path / "root")


@pytest.fixture
def keeper(agent: AgentProcess) -> Iterator[SessionKeeper]:
    keeper = SessionKeeper(agent.open_session)
    yield keeper
    keeper.close()


class Shut:
    """A machine that cannot be reached until it is opened."""

    def __init__(self, agent: AgentProcess) -> None:
        self.attempts = 0
        self.is_open = False
        self._agent = agent

    def open_session(self) -> AgentSession:
        self.attempts += 1
        if not self.is_open:
            raise TargetUnreachableError(f"attempt {self.attempts}")
        return self._agent.open_session()


def test_threads_that_need_a_session_at_once_share_one(
    agent: AgentProcess, keeper: SessionKeeper
) -> None:
    # given
    barrier = threading.Barrier(16)

    def ask(_: int) -> AgentSession:
        barrier.wait()
        return keeper.session()

    # when
    with ThreadPoolExecutor(16) as pool:
        sessions = set(pool.map(ask, range(16)))

    # then
    assert sessions == {keeper.session()}
    assert len(agent.streams) == 1


def test_a_session_that_was_begun_is_the_one_that_is_used(
    agent: AgentProcess, keeper: SessionKeeper
) -> None:
    # given
    keeper.begin()
    keeper.begin()

    # when
    answer = keeper.session().ask("begun", digests=[])
    keeper.begin()

    # then
    assert answer == {}
    assert len(agent.streams) == 1


def test_a_session_that_was_lost_is_opened_anew(
    agent: AgentProcess, keeper: SessionKeeper
) -> None:
    # given
    lost = keeper.session()
    agent.streams[0].cut()
    wait_for(lambda: lost.is_lost)

    # when
    session = keeper.session()

    # then
    assert session is not lost
    assert session.ask("begun", digests=[]) == {}


def test_a_session_that_was_closed_takes_its_agent_along_and_is_opened_anew(
    agent: AgentProcess, keeper: SessionKeeper
) -> None:
    # given
    keeper.session()

    # when
    keeper.close()
    keeper.close()

    # then
    assert not is_running(agent.streams[0].pid)
    assert keeper.session().ask("begun", digests=[]) == {}


def test_a_machine_that_could_not_be_reached_is_tried_again_by_who_asks_next(
    agent: AgentProcess,
) -> None:
    # given
    shut = Shut(agent)
    keeper = SessionKeeper(shut.open_session)
    with pytest.raises(TargetUnreachableError, match="attempt 1"):
        keeper.session()
    with pytest.raises(TargetUnreachableError, match="attempt 2"):
        keeper.session()

    # when
    shut.is_open = True

    # then
    assert keeper.session().ask("begun", digests=[]) == {}
    keeper.close()


def test_who_asks_after_a_vain_beginning_learns_why(agent: AgentProcess) -> None:
    # given
    shut = Shut(agent)
    keeper = SessionKeeper(shut.open_session)
    keeper.begin()
    wait_for(lambda: shut.attempts == 1)

    # when
    with pytest.raises(TargetUnreachableError, match="attempt"):
        keeper.session()
    shut.is_open = True

    # then
    assert keeper.session().ask("begun", digests=[]) == {}
    keeper.close()


def test_all_who_name_a_machine_alike_share_its_keeper(agent: AgentProcess) -> None:
    # when
    first = keeper_of(("a machine", str(agent.root)), agent.open_session)
    same = keeper_of(("a machine", str(agent.root)), agent.open_session)
    other = keeper_of(("another machine", str(agent.root)), agent.open_session)

    # then
    assert first is same
    assert first is not other


def test_a_forked_child_opens_a_session_of_its_own_and_leaves_its_parents(tmp_path: Path) -> None:
    # when
    said = _run(_AFTER_USE, tmp_path)

    # then
    assert said == ["agents 2", "child 0", "agents 2", "child 0", "same True", "agents 1"]


def test_a_child_that_is_forked_while_a_session_is_opened_opens_its_own(tmp_path: Path) -> None:
    # when
    said = _run(_WHILE_OPENING, tmp_path)

    # then
    assert said == ["child 0", "agents 1"]


def test_children_that_are_forked_while_threads_ask_open_their_own(tmp_path: Path) -> None:
    # when
    said = _run(_WHILE_ASKED_FOR, tmp_path)

    # then
    assert said == ["child 0"] * 10 + ["same True"]


def _run(script: str, tmp_path: Path) -> list[str]:
    """What a process prints that forks."""
    done = subprocess.run(
        [sys.executable, "-c", _FORK + script, tmp_path / "root"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()
