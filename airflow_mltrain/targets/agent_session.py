"""A session with a job agent elsewhere: many questions at once over one stream."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, NamedTuple, Protocol

from airflow_mltrain.runtime.job_agent.wire import Frame, FrameReader, FrameWriter, Kind

_DEAD_SECONDS = 20.0  # the agent gives a sign of life every five seconds while it is asked
_IDLE_SECONDS = 60.0  # the agent ends by itself after ninety
_PARTS_AHEAD = 64
_NONSENSE = (ValueError, KeyError, TypeError, RecursionError)


class Stream(Protocol):
    """Bytes to and from a process on another machine."""

    def receive(self, count: int) -> bytes:
        """At most so many bytes, none at the end; TimeoutError after some seconds without any."""

    def send(self, content: bytes) -> None:
        """Send all of it; OSError where that cannot be done, or takes too long."""

    def close(self) -> None:
        """Let go of the connection; may be repeated."""

    def disown(self) -> None:
        """Let go of it in a forked child: without a word, for it is the parent's."""


class SessionLostError(Exception):
    """The stream broke, or the agent fell silent; what was asked may or may not have been done."""


class AgentFaultError(Exception):
    """The agent answered that it could not do what it was asked."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Hello(NamedTuple):
    """What a machine says of itself when a session begins."""

    root: str
    place: str
    user: str
    host: str
    machine: str
    python: str
    python_version: str
    clock_skew_seconds: float  # how far its clock is ahead of this one


class View:
    """What the agent was told about the jobs that one thread watches, so as not to repeat it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.sent: dict[str, Any] = {}  # as `Seen`, by run id


class _Question:
    """One question under way, and what came in for it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.asked_at = time.monotonic()
        self.result: Any = None
        self.is_settled = False
        self._incoming: queue.Queue[Frame | Exception] = queue.Queue(_PARTS_AHEAD)
        self._is_left = False

    def take(self, incoming: Frame | Exception) -> None:
        """Hand on what came in; waits while whoever asked has too much unread."""
        if isinstance(incoming, Exception) or incoming.kind is not Kind.PART:
            self.is_settled = True
        while not self._is_left:
            try:
                self._incoming.put(incoming, timeout=1.0)
            except queue.Full:
                continue
            return

    def leave(self) -> None:
        """Nobody will read what still comes in."""
        self._is_left = True
        with suppress(queue.Empty):
            while True:
                self._incoming.get_nowait()

    def parts(self) -> Iterator[bytes]:
        """The body of the answer; the result is known when it ends."""
        while True:
            incoming = self._incoming.get()
            if isinstance(incoming, Exception):
                raise incoming
            if incoming.kind is Kind.PART:
                yield incoming.payload
                continue
            try:
                content = json.loads(incoming.payload)
                fault = None
                if incoming.kind is Kind.FAULT:
                    fault = AgentFaultError(str(content["kind"]), str(content["text"]))
            except _NONSENSE as error:
                raise SessionLostError(f"the agent's answer cannot be: {error!r:.200}") from None
            if fault is not None:
                raise fault
            self.result = content
            return


class AgentSession:
    """Asks a job agent, from any thread; a thread of its own reads the answers.

    Everything raises SessionLostError once the stream is broken, and AgentFaultError with what
    the agent could not do.
    """

    def __init__(self, stream: Stream, hello: Hello, received: bytes = b"") -> None:
        self.hello = hello
        self.stream = stream
        self._writer = FrameWriter(stream.send)
        self._frames = FrameReader(self._receive, received)
        self._numbers = count(1)
        self._views: list[View] = []
        self._view_numbers = count(1)
        self._questions: dict[int, _Question] = {}
        self._lock = threading.Lock()
        self._lost: str | None = None
        self._heard_at = self._used_at = time.monotonic()
        threading.Thread(target=self._read, name="mltrain-session", daemon=True).start()

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._lost is not None

    def ask(self, verb: str, body: Iterable[bytes] = (), **arguments: Any) -> Any:
        """Ask, with a body if need be, and return the result."""
        with self.asking(verb, body, **arguments) as question:
            for _ in question.parts():
                pass
            return question.result

    def ask_for_body(
        self, verb: str, body: Iterable[bytes] = (), **arguments: Any
    ) -> tuple[Any, bytes]:
        """Ask, and return the result with the body of the answer."""
        with self.asking(verb, body, **arguments) as question:
            content = b"".join(question.parts())
            return question.result, content

    @contextmanager
    def asking(
        self, verb: str, body: Iterable[bytes] = (), **arguments: Any
    ) -> Iterator[_Question]:
        """Ask; the answer's body can be read as it comes. Whoever leaves early abandons it."""
        question = self._begin()
        try:
            asked = json.dumps({"verb": verb, "arguments": arguments}).encode()
            self._send(Kind.ASK, question.number, asked)
            for part in body:
                if question.is_settled:  # a full disk, say: the rest would be sent for nothing
                    break
                self._send(Kind.PART, question.number, part)
            if not question.is_settled:
                self._send(Kind.END, question.number)
            yield question
        finally:
            question.leave()
            self._questions.pop(question.number, None)
            self._used_at = time.monotonic()
            if not question.is_settled and not self.is_lost:
                with suppress(SessionLostError):
                    self._send(Kind.ABANDON, question.number)

    def take_view(self) -> View:
        """A view that nobody else has; whichever target it was left by, the agent knows it."""
        try:
            return self._views.pop()
        except IndexError:
            return View(next(self._view_numbers))

    def leave_view(self, view: View) -> None:
        """Give back a view of which is certain what the agent knows."""
        self._views.append(view)

    def close(self) -> None:
        """End the session; may be repeated."""
        self._lose("it was closed")

    def disown(self) -> None:
        """Let go of the stream in a forked child, which has none of the threads."""
        self._lost = "it belongs to another process"
        self.stream.disown()

    def _begin(self) -> _Question:
        with self._lock:
            if self._lost is not None:
                raise SessionLostError(self._lost)
            self._used_at = time.monotonic()
            question = _Question(next(self._numbers))
            self._questions[question.number] = question
            return question

    def _send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        try:
            self._writer.send(kind, number, payload)
        except Exception as error:
            self._lose(f"nothing could be sent: {_words(error)}")
            raise SessionLostError(self._lost) from error
        except BaseException:  # a signal in the middle of a frame: what follows would be misread
            self._lose("a message was interrupted")
            raise

    def _read(self) -> None:
        try:
            while (frame := self._frames.read()) is not None:
                if frame.kind is Kind.PULSE:
                    self._send(Kind.PULSE, 0)
                elif question := self._questions.get(frame.request):
                    question.take(frame)
            self._lose("the connection was closed")
        except SessionLostError:
            pass
        except Exception as error:  # noqa: BLE001 - else those who wait would wait for ever
            self._lose(f"the connection broke: {_words(error)}")

    def _receive(self, count: int) -> bytes:
        while True:
            try:
                received = self.stream.receive(count)
            except TimeoutError:
                self._require_life()
            else:
                self._heard_at = time.monotonic()
                return received

    def _require_life(self) -> None:
        now = time.monotonic()
        asked = [question.asked_at for question in list(self._questions.values())]
        if not asked:
            if now - self._used_at > _IDLE_SECONDS:
                self._lose("it was closed after a while without use")
        elif now - max(self._heard_at, min(asked)) > _DEAD_SECONDS:
            self._lose(f"the job agent has been silent for {_DEAD_SECONDS:.0f} seconds")
        if self._lost is not None:
            raise SessionLostError(self._lost)

    def _lose(self, why: str) -> None:
        with self._lock:
            if self._lost is None:
                self._lost = why
            left = list(self._questions.values())
            self._questions.clear()
        self.stream.close()
        for question in left:
            question.take(SessionLostError(self._lost))


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def as_hello(facts: Mapping[str, Any], clock_skew_seconds: float) -> Hello:
    """The first words of an agent, as they came."""
    return Hello(
        root=facts["root"],
        place=facts["place"],
        user=facts["user"],
        host=facts["host"],
        machine=facts["machine"],
        python=facts["python"],
        python_version=facts["python_version"],
        clock_skew_seconds=clock_skew_seconds,
    )
