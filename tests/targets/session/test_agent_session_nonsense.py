"""Answers that no job agent gives: whoever asked is told so, as of any broken session."""

from __future__ import annotations

import threading

import pytest

from airflow_mltrain.runtime.job_agent.wire import FrameWriter, Kind
from airflow_mltrain.targets.agent_session import AgentSession, Hello, SessionLostError

_NOBODY = Hello("", "", "", "", "", "", "", 0.0)


class Impostor:
    """Says one thing as soon as it is asked anything."""

    def __init__(self, kind: Kind, payload: bytes) -> None:
        self._said = bytearray()
        FrameWriter(self._said.extend).send(kind, 1, payload)
        self._is_asked = threading.Event()

    def receive(self, count: int) -> bytes:
        self._is_asked.wait()
        said = bytes(self._said[:count])
        del self._said[:count]
        return said

    def send(self, content: bytes) -> None:
        del content
        self._is_asked.set()

    def close(self) -> None:
        self._is_asked.set()

    def disown(self) -> None:
        self.close()


@pytest.mark.parametrize("kind", [Kind.ANSWER, Kind.FAULT])
@pytest.mark.parametrize("payload", [b"", b"\xff", b"[" * 100_000, b"{"])
def test_an_answer_that_is_none_is_no_answer(kind: Kind, payload: bytes) -> None:
    # given
    session = AgentSession(Impostor(kind, payload), _NOBODY)

    # when, then
    with pytest.raises(SessionLostError, match="answer cannot be"):
        session.ask("place")


@pytest.mark.parametrize("payload", [b"[]", b"5", b'{"kind": "OSError"}', b'"text"'])
def test_a_fault_that_says_nothing_is_no_answer(payload: bytes) -> None:
    # given
    session = AgentSession(Impostor(Kind.FAULT, payload), _NOBODY)

    # when, then
    with pytest.raises(SessionLostError, match="answer cannot be"):
        session.ask("place")
