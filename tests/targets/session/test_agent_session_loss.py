"""Sessions that end: broken, given up, interrupted, or no longer used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_mltrain.targets import agent_session
from airflow_mltrain.targets.agent_session import (
    AgentSession,
    Hello,
    SessionLostError,
)
from tests.services.agent_process import AgentProcess, ProcessStream
from tests.services.jobs import is_running, wait_for

_SEEN = {"status": "NotStarted", "log": 0, "metrics": 0, "environment_key": None}
_CLIENT = """
import sys, time
from pathlib import Path
from tests.services.agent_process import AgentProcess

agent = AgentProcess(Path(sys.argv[1]))
session = agent.open_session()
print(agent.streams[0].pid, flush=True)
time.sleep(1000)
"""


class ScriptedStream:
    """A stream from nobody: gives these bytes, or raises an error, and takes whatever is sent."""

    def __init__(self, *incoming: bytes | Exception) -> None:
        self._incoming = list(incoming)
        self._asked = threading.Event()

    def receive(self, count: int) -> bytes:
        del count
        if not self._asked.wait(0.01):
            raise TimeoutError
        incoming = self._incoming.pop(0) if self._incoming else b""
        if isinstance(incoming, Exception):
            raise incoming
        return incoming

    def send(self, content: bytes) -> None:
        del content
        self._asked.set()

    def close(self) -> None:
        pass

    def disown(self) -> None:
        pass


class InterruptedStream(ProcessStream):
    """Is interrupted by a signal, once, in the middle of a large frame."""

    def send(self, content: bytes) -> None:
        if len(content) > 190_000:  # longer than the agent, as it is sent first
            super().send(content[:50_000])
            raise KeyboardInterrupt
        super().send(content)


def test_everybody_who_waits_learns_that_the_agent_died(
    session: AgentSession, agent: AgentProcess, pool: ThreadPoolExecutor
) -> None:
    # given
    waiting = [pool.submit(_wait_for_news, session) for _ in range(10)]
    session.ask("begun", digests=[])

    # when
    agent.streams[0].cut()

    # then
    assert {type(one.exception(20)) for one in waiting} == {SessionLostError}
    assert session.is_lost
    with pytest.raises(SessionLostError, match="closed"):
        session.ask("begun", digests=[])


def test_an_agent_that_falls_silent_is_given_up(
    session: AgentSession, agent: AgentProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setattr(agent_session, "_DEAD_SECONDS", 1.0)
    os.kill(agent.streams[0].pid, signal.SIGSTOP)

    # when
    with pytest.raises(SessionLostError, match="silent for 1 seconds"):
        session.ask("begun", digests=[])

    # then
    assert session.is_lost


def test_an_agent_that_takes_nothing_any_more_is_given_up(
    session: AgentSession, agent: AgentProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setattr(agent_session, "_DEAD_SECONDS", 1.0)
    os.kill(agent.streams[0].pid, signal.SIGSTOP)

    # when
    with pytest.raises(SessionLostError):
        session.ask("upload", (os.urandom(200_000) for _ in range(100)))

    # then
    assert session.is_lost


def test_a_silent_agent_is_not_missed_by_a_question_that_was_just_asked(
    session: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setattr(agent_session, "_DEAD_SECONDS", 2.0)
    _pass_time(2.2)

    # when
    result = _wait_for_news(session, 0.7)

    # then
    assert result == {"states": {}, "unknown": ["run-2"], "bereft": []}


def test_a_session_that_nobody_uses_ends_with_its_agent(
    session: AgentSession, agent: AgentProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    session.ask("begun", digests=[])

    # when
    monkeypatch.setattr(agent_session, "_IDLE_SECONDS", 0.2)

    # then
    wait_for(lambda: session.is_lost)
    wait_for(lambda: not is_running(agent.streams[0].pid))
    with pytest.raises(SessionLostError, match="without use"):
        session.ask("begun", digests=[])


def test_the_time_without_use_begins_when_the_last_answer_came(
    session: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setattr(agent_session, "_IDLE_SECONDS", 1.5)

    # when
    _wait_for_news(session, 2.0)
    _pass_time(0.7)

    # then
    assert not session.is_lost


def test_a_frame_that_a_signal_interrupted_ends_the_session(tmp_path: Path) -> None:
    # given
    agent = _InterruptedAgent(tmp_path / "root")
    session = agent.open_session()

    # when
    with pytest.raises(KeyboardInterrupt):
        session.ask("upload", [os.urandom(200_000)])

    # then
    with pytest.raises(SessionLostError, match="interrupted"):
        session.ask("begun", digests=[])


@pytest.mark.parametrize(
    ("incoming", "words"),
    [
        (b"Last login: yesterday", "not a frame"),
        (b"", "the connection was closed"),
        (ConnectionResetError("reset by peer"), "reset by peer"),
        (RuntimeError("no keys were exchanged"), "no keys were exchanged"),
    ],
    ids=["noise", "its end", "a reset", "an error of the library"],
)
def test_who_asks_learns_how_the_stream_broke(incoming: bytes | Exception, words: str) -> None:
    # given
    session = AgentSession(ScriptedStream(incoming), _hello())

    # when
    with pytest.raises(SessionLostError, match=words):
        session.ask("begun", digests=[])

    # then
    assert session.is_lost


@pytest.mark.parametrize(
    "end",
    [lambda client: client.kill(), lambda client: client.terminate()],
    ids=["killed", "terminated"],
)
def test_no_agent_outlives_the_process_that_asked_it(
    tmp_path: Path, end: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    # given
    with subprocess.Popen(
        [sys.executable, "-c", _CLIENT, tmp_path / "root"], stdout=subprocess.PIPE
    ) as client:
        assert client.stdout is not None
        pid = int(client.stdout.readline())
        assert is_running(pid)

        # when
        end(client)

    # then
    wait_for(lambda: not is_running(pid))


class _InterruptedAgent(AgentProcess):
    def open_stream(self, command_line: str) -> ProcessStream:
        return InterruptedStream(command_line)


def _wait_for_news(session: AgentSession, seconds: float = 20.0) -> object:
    return session.ask(
        "observe", view=1, changed={"run-2": _SEEN}, dropped=[], wait_seconds=seconds
    )


def _pass_time(seconds: float) -> None:
    nothing: Future[None] = Future()
    with pytest.raises(TimeoutError):
        nothing.result(seconds)


def _hello() -> Hello:
    return Hello("", "", "", "", "", "", "", 0.0)
