"""Asking a job agent: many questions over one stream, and streams that break."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.intake import ANEW, BLOB_HEADER
from airflow_mltrain.targets import agent_session
from airflow_mltrain.targets.agent_session import (
    AgentFaultError,
    AgentSession,
    Hello,
    SessionLostError,
)
from airflow_mltrain.targets.blob_stream import in_parts
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
        if len(content) > 100_000:
            super().send(content[:50_000])
            raise KeyboardInterrupt
        super().send(content)


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


@pytest.fixture
def log(agent: AgentProcess) -> Path:
    """The log of an ended job, too long for any buffer between here and there."""
    path = agent.root / "runs" / "run-1" / "log"
    path.parent.mkdir(parents=True)
    path.write_bytes(os.urandom(30_000_000))
    return path


def test_a_session_says_where_it_is(agent: AgentProcess, session: AgentSession) -> None:
    assert session.hello.root == str(agent.root)
    assert session.hello.place == (agent.root / "place").read_text()
    assert session.hello.machine == os.uname().machine
    assert abs(session.hello.clock_skew_seconds) < 0.5


def test_many_threads_ask_at_once_and_each_gets_its_own_answer(
    session: AgentSession, pool: ThreadPoolExecutor
) -> None:
    # given
    questions = [[sha256(b"%d" % number).digest()] * number for number in range(100)]

    # when
    answers = list(pool.map(lambda one: session.ask_for_body("missing", one), questions))

    # then
    assert answers == [(None, b"".join(one)) for one in questions]


def test_a_question_passes_one_that_waits(session: AgentSession, pool: ThreadPoolExecutor) -> None:
    # given
    waiting = pool.submit(_wait_for_news, session)

    # when
    began = time.monotonic()
    answer = session.ask("begun", digests=[])
    elapsed = time.monotonic() - began

    # then
    assert answer == {}
    assert elapsed < 5
    assert not waiting.done()
    session.close()


def test_an_upload_that_takes_its_time_holds_nobody_up(
    session: AgentSession, pool: ThreadPoolExecutor, agent: AgentProcess
) -> None:
    # given
    is_asked = threading.Event()
    content = os.urandom(8_000_000)

    def body() -> Iterator[bytes]:
        yield BLOB_HEADER.pack(sha256(content).digest(), ANEW, len(content))
        yield content[:5_000_000]
        is_asked.wait(20)
        yield content[5_000_000:]

    upload = pool.submit(session.ask, "upload", body())

    # when
    state = _wait_for_news(session, 0.1)
    is_asked.set()

    # then
    assert state == {"states": {}, "unknown": ["run-2"]}
    assert upload.result(20) == []
    digest = sha256(content).hexdigest()
    assert (agent.root / "blobs" / digest[:2] / digest).read_bytes() == content


def test_a_slow_reader_of_one_answer_loses_nothing(session: AgentSession, log: Path) -> None:
    # given
    came = bytearray()

    # when
    with session.asking("fetch", run_id="run-1") as question:
        for part in question.parts():
            time.sleep(0.001)
            came += part

    # then
    assert question.result == []
    assert came.endswith(log.read_bytes())


def test_who_leaves_early_hurts_nobody_who_asks_later(session: AgentSession, log: Path) -> None:
    # when
    for _ in range(5):
        with session.asking("fetch", run_id="run-1") as question:
            next(question.parts())
    _, came = session.ask_for_body("fetch", run_id="run-1")

    # then
    assert came.endswith(log.read_bytes())


def test_a_body_that_cannot_be_read_any_further_hurts_nobody_who_asks_later(
    session: AgentSession, agent: AgentProcess
) -> None:
    # given
    def body() -> Iterator[bytes]:
        yield BLOB_HEADER.pack(bytes(32), ANEW, 1000)
        yield b"some of it"
        raise FileNotFoundError("it was removed")

    # when
    with pytest.raises(FileNotFoundError, match="it was removed"):
        session.ask("upload", body())
    answer = session.ask("begun", digests=[])

    # then
    assert answer == {}
    wait_for(lambda: list(agent.root.glob("blobs/partial/*")) == [])


def test_an_answer_that_comes_early_ends_the_sending(session: AgentSession) -> None:
    # given
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        yield BLOB_HEADER.pack(bytes(32), ANEW, 3) + b"bad"
        while sent < 10_000:
            sent += 1
            yield os.urandom(100_000)

    # when
    with pytest.raises(AgentFaultError, match="arrived damaged"):
        session.ask("upload", body())

    # then
    assert sent < 1000


@pytest.mark.parametrize(
    ("verb", "arguments", "kind", "words"),
    [
        ("fly", {}, "AgentError", "KeyError: 'fly'"),
        ("cancel", {"run_id": "../../etc"}, "AgentError", "not a run id"),
        ("cancel", {"name": "run-1"}, "AgentError", "unexpected keyword"),
        ("upload", {}, "OSError", "the transfer was cut"),
    ],
)
def test_what_an_agent_cannot_do_is_said(
    session: AgentSession, verb: str, arguments: dict[str, str], kind: str, words: str
) -> None:
    # when
    with pytest.raises(AgentFaultError, match=words) as fault:
        session.ask(verb, [b"half a header"], **arguments)

    # then
    assert fault.value.kind == kind
    assert not session.is_lost


def test_a_fetch_may_have_the_better_part_of_a_million_files_already(
    session: AgentSession, log: Path
) -> None:
    # given
    have = b'{"log": %d, %s}' % (log.stat().st_size, b", ".join(map(_entry, range(600_000))))

    # when
    _, came = session.ask_for_body("fetch", in_parts(have), run_id="run-1")

    # then
    assert len(came) < 1000


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
    monkeypatch.setattr(agent_session, "_DEAD_SECONDS", 1.0)
    _pass_time(1.5)

    # when
    result = _wait_for_news(session, 0.7)

    # then
    assert result == {"states": {}, "unknown": ["run-2"]}


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


def _entry(number: int) -> bytes:
    return b'"outputs/checkpoints/%d": 100' % number


def _hello() -> Hello:
    return Hello("", "", "", "", "", "", "", 0.0)
