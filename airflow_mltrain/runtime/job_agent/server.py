"""The job agent as a process that answers over a stream, on a machine reached from elsewhere."""

import json
import os
import queue
import sys
import threading
import time
from typing import Any, BinaryIO, Callable, Dict, Iterator, Optional

from . import verbs
from .host import Host
from .wire import Frame, FrameReader, FrameWriter, Kind, WireError

_PULSE_SECONDS = 5.0
_HEARD_SECONDS = 3 * _PULSE_SECONDS  # an asker that lives answers every pulse
_SILENCE_SECONDS = 90.0  # after so long without a word the asker is gone
_PARTS_AHEAD = 16
_FULL_LOOK_SECONDS = 1.0
_LOG_BYTES = 1024 * 1024


class AbandonedError(Exception):
    """Nobody waits for the answer any more."""


class Request:
    """One question, and the stream to whoever asked it."""

    def __init__(
        self, number: int, writer: FrameWriter, silence: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.number = number
        self.is_abandoned = False
        self._writer = writer
        self._silence = silence
        self._parts: "queue.Queue[Optional[bytes]]" = queue.Queue(_PARTS_AHEAD)

    @property
    def is_heard(self) -> bool:
        """Whether there was a sign of life of the asker lately."""
        return self._silence() < _HEARD_SECONDS

    def parts(self) -> Iterator[bytes]:
        """The body of the question, as it comes in."""
        while True:
            part = self._parts.get()
            if part is None:
                return
            yield part

    def send_part(self, content: bytes) -> None:
        """Send some of the answer's body; AbandonedError where nobody waits for it."""
        if self.is_abandoned:
            raise AbandonedError
        self._writer.send(Kind.PART, self.number, content)

    def take(self, part: Optional[bytes]) -> None:
        """Hand on a piece of the body, or its end; waits while too many lie there unread."""
        while not self.is_abandoned:
            try:
                self._parts.put(part, timeout=_FULL_LOOK_SECONDS)
            except queue.Full:
                continue
            return

    def abandon(self) -> None:
        """Let whoever reads the body or sends the answer go."""
        self.is_abandoned = True
        while True:
            try:
                self._parts.get_nowait()
            except queue.Empty:
                self._parts.put(None)
                return


class Server:
    """Answers the questions that come in over a stream, until it ends or falls silent."""

    def __init__(self, host: Host, reader: FrameReader, writer: FrameWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer
        self._requests: Dict[int, Request] = {}
        self._heard_at = time.monotonic()
        self._is_handing_on = False

    def run(self) -> None:
        """Answer, each question in its own thread; returns when the stream has ended."""
        threading.Thread(target=self._keep_watch, daemon=True).start()
        while True:
            frame = self._reader.read()
            if frame is None:
                return
            self._is_handing_on = True
            self._heard_at = time.monotonic()
            self._take(frame)
            self._heard_at = time.monotonic()
            self._is_handing_on = False

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.ASK:
            request = Request(frame.request, self._writer, self._silence)
            self._requests[frame.request] = request
            work = (request, frame.payload)
            threading.Thread(target=self._answer, args=work, daemon=True).start()
            return
        asked = self._requests.get(frame.request)
        if asked is None:
            return  # a pulse, or the rest of a question that has its answer
        if frame.kind is Kind.PART:
            asked.take(frame.payload)
        elif frame.kind is Kind.END:
            asked.take(None)
        elif frame.kind is Kind.ABANDON:
            asked.abandon()

    def _answer(self, request: Request, payload: bytes) -> None:
        kind: Kind = Kind.ANSWER
        try:
            asked = json.loads(payload)
            answer = self._host.answer(request, asked["verb"], asked["arguments"])
        except AbandonedError:
            answer = None
        except Exception as error:  # noqa: BLE001  # whatever it is, the asker has to learn of it
            kind, answer = Kind.FAULT, _describe(error)
        self._requests.pop(request.number, None)
        request.abandon()
        self._send(kind, request.number, json.dumps(answer).encode())

    def _keep_watch(self) -> None:
        while True:
            time.sleep(_PULSE_SECONDS)
            if self._silence() > _SILENCE_SECONDS and not self._is_handing_on:
                os._exit(0)
            if self._requests:  # in a thread, since a stream that is stuck would stop the watch
                threading.Thread(target=self._send, args=(Kind.PULSE, 0), daemon=True).start()

    def _silence(self) -> float:
        return time.monotonic() - self._heard_at

    def _send(self, kind: Kind, number: int, payload: bytes = b"") -> None:
        try:
            self._writer.send(kind, number, payload)
        except OSError:
            os._exit(0)  # nobody is there


def _describe(error: Exception) -> Dict[str, Any]:
    if isinstance(error, OSError):
        return {"kind": "OSError", "text": str(error)}
    if isinstance(error, (verbs.StartError, verbs.NotEndedError)):
        return {"kind": type(error).__name__, "text": str(error)}
    import traceback  # noqa: PLC0415  # dear at start-up

    return {"kind": "AgentError", "text": traceback.format_exc()}


def serve(root: str, token: str, stdin: BinaryIO) -> None:
    """Answer over standard input and output until the stream ends; never returns.

    A line that begins with `token` says that the agent is there; from then on there are frames.
    """
    frames = os.dup(1)
    _divert_output(os.path.join(root, "agent", "log"))

    def write(content: bytes) -> None:
        _write_all(frames, content)

    def introduce(facts: Dict[str, Any]) -> None:
        write("\n{} {}\n".format(token, json.dumps(facts)).encode())

    try:
        host = Host(root)
        introduce(host.describe())
    except OSError as error:
        introduce({"fault": str(error), "root": root})
        os._exit(1)
    try:
        reader = FrameReader(stdin.read1)  # type: ignore[attr-defined]  # as buffered streams have
        Server(host, reader, FrameWriter(write)).run()
    except (OSError, WireError) as error:
        print("the stream broke: {}".format(error), file=sys.stderr)
    sys.stderr.flush()
    os._exit(0)  # whatever is under way may be repeated, and will be


def _divert_output(path: str) -> None:
    """Print to a file from now on: elsewhere it would spoil the stream, or block it."""
    try:
        if os.path.exists(path) and os.stat(path).st_size > _LOG_BYTES:
            os.unlink(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:  # a full disk, say: then it is lost
        descriptor = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(descriptor, output)
    os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
