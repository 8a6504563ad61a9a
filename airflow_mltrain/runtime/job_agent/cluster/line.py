"""The end of a connection that asks: one question at a time, of the job agent of a driver."""

import json
import select
import socket
import time
from typing import Any, Callable, Iterable, Iterator

from ..wire import FrameReader, FrameWriter, Kind, WireError

_LOOK_SECONDS = 1.0
_QUESTION = 1


class LineBrokenError(Exception):
    """The connection is gone; what was asked may have been done, and may be repeated."""


class LineFaultError(Exception):
    """The agent could not do what it was asked."""


class Line:
    """Asks the job agent at the other end, which answers as `host.Host` does."""

    def __init__(self, connection: socket.socket, patience: Callable[[], float]) -> None:
        """`patience` says how many seconds without a byte are too many, and may change its mind.

        The agent gives a sign of life every five.
        """
        self._connection = connection
        self._patience = patience
        self._writer = FrameWriter(self._send)
        self._reader = FrameReader(self._receive)

    def ask(self, verb: str, body: Iterable[bytes] = (), **arguments: Any) -> Any:
        """The answer, where it has no body."""
        question = self.asking(verb, body, **arguments)
        for _ in question.parts():
            pass
        return question.result

    def asking(self, verb: str, body: Iterable[bytes] = (), **arguments: Any) -> "Question":
        """Ask; the body of the answer has to be read before anything else is asked."""
        try:
            asked = json.dumps({"verb": verb, "arguments": arguments}).encode()
            self._writer.send(Kind.ASK, _QUESTION, asked)
            for part in body:
                self._writer.send(Kind.PART, _QUESTION, part)
            self._writer.send(Kind.END, _QUESTION)
        except OSError as error:
            raise LineBrokenError(str(error)) from None
        return Question(self._reader, self._writer)

    def close(self) -> None:
        """End it."""
        self._connection.close()

    def _receive(self, count: int) -> bytes:
        self._await(select.POLLIN)
        return self._connection.recv(count)

    def _send(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            self._await(select.POLLOUT)
            view = view[self._connection.send(view) :]

    def _await(self, event: int) -> None:
        look = select.poll()
        look.register(self._connection, event)
        began = time.monotonic()
        while not look.poll(_LOOK_SECONDS * 1000):
            if time.monotonic() - began > self._patience():
                raise socket.timeout("nothing was heard of its other end")


class Question:
    """One that was asked; its `result` is known when all parts of its answer were read."""

    def __init__(self, reader: FrameReader, writer: FrameWriter) -> None:
        self._reader, self._writer = reader, writer
        self.result: Any = None

    def parts(self) -> Iterator[bytes]:
        """The body of the answer."""
        while True:
            try:
                frame = self._reader.read()
                if frame is not None and frame.kind is Kind.PULSE:
                    self._writer.send(Kind.PULSE, 0)  # a long answer is still wanted
            except (OSError, WireError) as error:
                raise LineBrokenError(str(error)) from None
            if frame is None:
                raise LineBrokenError("it was closed")
            if frame.kind is Kind.PART:
                yield frame.payload
            elif frame.kind is Kind.ANSWER:
                self.result = json.loads(frame.payload)
                return
            elif frame.kind is Kind.FAULT:
                raise LineFaultError(str(json.loads(frame.payload)["text"]))
