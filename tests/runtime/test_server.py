"""A job agent as it answers a stream, and one that nobody uses any more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent import server
from airflow_mltrain.runtime.job_agent.wire import Frame, FrameReader, FrameWriter, Kind
from tests.services.jobs import wait_for

_RUNTIME = Path(server.__file__).parents[1]
# Ninety seconds of silence would be long in a test.
_AGENT = """
import sys
sys.path.insert(0, sys.argv[1])
from job_agent import server
server._PULSE_SECONDS, server._SILENCE_SECONDS = 0.1, 1.0
server.serve(sys.argv[2], "token", sys.stdin.buffer)
"""
_WAIT = {"view": 1, "changed": {}, "dropped": [], "wait_seconds": 1000}


class Agent:
    """A job agent that is impatient, and the frames to and from it."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _AGENT, _RUNTIME, root],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.introduction = self.process.stdout.readline() + self.process.stdout.readline()
        self._writer = FrameWriter(self.process.stdin.write)
        output = self.process.stdout.fileno()
        self._reader = FrameReader(lambda count: os.read(output, count))

    def send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        """Send a frame."""
        self._writer.send(kind, number, payload)

    def ask(self, number: int, verb: str, **arguments: object) -> None:
        """Send a question without a body."""
        self.send(Kind.ASK, number, json.dumps({"verb": verb, "arguments": arguments}).encode())
        self.send(Kind.END, number)

    def read(self) -> Frame | None:
        """The next frame."""
        return self._reader.read()

    def answer_to(self, number: int) -> Frame:
        """The end of the answer to a question."""
        for frame in iter(self.read, None):
            if frame.request == number and frame.kind in (Kind.ANSWER, Kind.FAULT):
                return frame
        raise AssertionError("it ended")

    def close(self) -> None:
        """Kill it, if it still runs."""
        with self.process:
            self.process.kill()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    (tmp_path / "root" / "agent").mkdir(parents=True)
    agent = Agent(tmp_path / "root")
    yield agent
    agent.close()


def test_an_agent_introduces_itself_behind_its_token(agent: Agent, tmp_path: Path) -> None:
    # when
    token, _, facts = agent.introduction.strip().partition(b" ")

    # then
    assert token == b"token"
    assert json.loads(facts)["root"] == str(tmp_path / "root")


def test_an_agent_whose_asker_hangs_ends_by_itself(agent: Agent) -> None:
    # given
    agent.ask(1, "observe", **_WAIT)

    # when
    pulse = agent.read()

    # then
    assert pulse == Frame(Kind.PULSE, 0, b"")
    assert agent.process.wait(10) == 0


def test_an_agent_whose_asker_takes_nothing_ends_by_itself(agent: Agent, tmp_path: Path) -> None:
    # given
    log = tmp_path / "root" / "runs" / "run-1" / "log"
    log.parent.mkdir(parents=True)
    log.write_bytes(os.urandom(10_000_000))

    # when
    agent.ask(1, "fetch", run_id="run-1")

    # then
    assert agent.process.wait(10) == 0


def test_an_agent_gives_signs_of_life_while_it_is_asked_and_lives_on_those_it_gets(
    agent: Agent,
) -> None:
    # given
    agent.ask(1, "observe", **_WAIT)

    # when
    pulses = []
    for _ in range(20):
        pulses.append(agent.read())
        agent.send(Kind.PULSE, 0)
    agent.ask(2, "begun", digests=[])

    # then
    assert pulses == [Frame(Kind.PULSE, 0, b"")] * 20
    assert agent.answer_to(2) == Frame(Kind.ANSWER, 2, b"{}")


@pytest.mark.parametrize(
    "end",
    [
        lambda agent: agent.process.stdin.close(),
        lambda agent: agent.process.stdin.write(b"Hello?\n" * 10),
        lambda agent: agent.process.stdin.write(b"\x02"),
    ],
    ids=["its end", "noise", "a frame that never ends"],
)
def test_an_agent_ends_with_its_stream(agent: Agent, end: Callable[[Agent], object]) -> None:
    # given
    agent.ask(1, "observe", **_WAIT)

    # when
    end(agent)

    # then
    assert agent.process.wait(10) == 0


def test_frames_that_belong_to_no_question_are_passed_over(agent: Agent) -> None:
    # when
    agent.send(Kind.PART, 77, b"of nothing")
    agent.send(Kind.END, 77)
    agent.send(Kind.ABANDON, 77)
    agent.send(Kind.ANSWER, 77, b"{}")
    agent.ask(1, "begun", digests=[])

    # then
    assert agent.answer_to(1) == Frame(Kind.ANSWER, 1, b"{}")


@pytest.mark.parametrize("question", [b"", b"{", b"[]", b"{}", b'{"verb": []}', b"\xff"])
def test_a_question_that_makes_no_sense_is_answered_with_a_fault(
    agent: Agent, question: bytes
) -> None:
    # when
    agent.send(Kind.ASK, 1, question)
    fault = agent.answer_to(1)

    # then
    assert fault.kind is Kind.FAULT
    assert json.loads(fault.payload)["kind"] == "AgentError"


def test_an_observation_that_was_abandoned_lets_the_next_have_its_view(agent: Agent) -> None:
    # given
    agent.ask(1, "observe", **_WAIT)

    # when
    agent.send(Kind.ABANDON, 1)
    agent.ask(2, "observe", **{**_WAIT, "wait_seconds": 0})

    # then
    answer: dict[str, object] = {"states": {}, "unknown": [], "bereft": []}
    assert json.loads(agent.answer_to(2).payload) == answer


def test_what_an_agent_prints_goes_to_its_log(agent: Agent, tmp_path: Path) -> None:
    # given
    assert agent.process.stdin is not None

    # when
    agent.process.stdin.write(b"this is no frame")
    agent.process.wait(10)

    # then
    log = tmp_path / "root" / "agent" / "log"
    wait_for(log.stat)
    assert "the stream broke: not a frame" in log.read_text()
