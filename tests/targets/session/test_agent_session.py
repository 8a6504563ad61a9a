"""Asking a job agent: many questions at once over one stream."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.intake import ANEW, BLOB_HEADER
from airflow_mltrain.runtime.job_agent.shipment import in_parts
from airflow_mltrain.targets.agent_session import (
    AgentFaultError,
    AgentSession,
)
from tests.services.agent_process import AgentProcess
from tests.services.jobs import wait_for
from tests.services.patience import PATIENCE_SECONDS

_SEEN = {"status": "NotStarted", "log": 0, "metrics": 0, "environment_key": None}


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
    waiting = pool.submit(_wait_for_news, session, PATIENCE_SECONDS)

    # when
    answer = session.ask("begun", digests=[])

    # then
    assert answer == {}
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
    assert state == {"states": {}, "unknown": ["run-2"], "bereft": []}
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


def _wait_for_news(session: AgentSession, seconds: float = 20.0) -> object:
    return session.ask(
        "observe", view=1, changed={"run-2": _SEEN}, dropped=[], wait_seconds=seconds
    )


def _entry(number: int) -> bytes:
    return b'"outputs/checkpoints/%d": 100' % number
