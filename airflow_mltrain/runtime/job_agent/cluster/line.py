"""The end of a connection that asks: one question at a time, of the job agent of a driver."""

import hashlib
import hmac
import json
import os
import socket
import zlib
from typing import Any, Callable, Iterable, Iterator, Optional, Tuple

from ..wire import FrameReader, FrameWriter, Kind, WireError
from .entry import WELCOME, prove, read_line, send_line

_SILENCE_SECONDS = 30.0  # the agent gives a sign of life every five
_QUESTION = 1


class LineBrokenError(Exception):
    """The connection is gone; what was asked may have been done, and may be repeated."""


class LineFaultError(Exception):
    """The agent could not do what it was asked."""


def take_call(
    connection: socket.socket, token: str, is_welcome: Callable[[str], bool]
) -> Optional[Tuple[str, "Line"]]:
    """The driver that calls, and the line to it; None where it is a stranger or not wanted.

    `is_welcome` is asked about those who know the secret.
    """
    try:
        connection.settimeout(_SILENCE_SECONDS)
        hello = read_line(connection)
        driver, nonce = str(hello["driver"]), str(hello["nonce"])
        agent = pack_agent() if hello["needs_agent"] else b""
        other, digest = os.urandom(16).hex(), hashlib.sha256(agent).hexdigest()
        verdict = WELCOME if is_welcome(driver) else "superfluous"
        proof = prove(token, "submitter", driver, nonce, other, verdict, digest)
        send_line(
            connection, nonce=other, verdict=verdict, digest=digest, bytes=len(agent), proof=proof
        )
        connection.sendall(agent)
        known = prove(token, "driver", driver, nonce, other)
        if hmac.compare_digest(known, str(read_line(connection)["proof"])) and verdict == WELCOME:
            return driver, Line(connection)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    connection.close()
    return None


class Line:
    """Asks the job agent at the other end, which answers as `host.Host` does."""

    def __init__(self, connection: socket.socket) -> None:
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


def pack_agent() -> bytes:
    """The files of this job agent, as `entry.install` writes them."""
    runtime = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    files = {}
    for top in ("job_agent", "training"):
        for parent, _, names in os.walk(os.path.join(runtime, top)):
            for name in names:
                if name.endswith(".py"):
                    path = os.path.join(parent, name)
                    with open(path, encoding="utf-8") as file:
                        files[os.path.relpath(path, runtime)] = file.read()
    return zlib.compress(json.dumps(files).encode(), 1)
