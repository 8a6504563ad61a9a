"""The end of a connection that asks: one question at a time, of the job agent of a driver."""

import json
import socket
from typing import Any, Iterable, Iterator

from ..wire import FrameReader, FrameWriter, Kind, WireError

_SILENCE_SECONDS = 30.0  # the agent gives a sign of life every five
_QUESTION = 1


class LineBrokenError(Exception):
    """The connection is gone; what was asked may have been done, and may be repeated."""


class LineFaultError(Exception):
    """The agent could not do what it was asked."""


class Line:
    """Asks the job agent at the other end, which answers as `host.Host` does."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(_SILENCE_SECONDS)
        self._connection = connection
        self._writer = FrameWriter(connection.sendall)
        self._reader = FrameReader(connection.recv)

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
        return Question(self._reader)

    def close(self) -> None:
        """End it."""
        self._connection.close()


class Question:
    """One that was asked; its `result` is known when all parts of its answer were read."""

    def __init__(self, reader: FrameReader) -> None:
        self._reader = reader
        self.result: Any = None

    def parts(self) -> Iterator[bytes]:
        """The body of the answer."""
        while True:
            try:
                frame = self._reader.read()
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
