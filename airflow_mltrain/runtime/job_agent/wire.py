"""Frames: how the job agent and those who ask it share one stream of bytes.

Each frame belongs to a request, so that many are under way at once. A request is an ASK and a body
of any number of PARTs up to an END; its answer is a body too, then an ANSWER or a FAULT. Both
sides use this module, in one version: the asker brings the agent along.
"""

import enum
import struct
import threading
import time
import zlib
from typing import Callable, NamedTuple, Optional

PART_BYTES = 256 * 1024
_HEADER = struct.Struct(">BBII")  # kind, whether deflated, request, bytes of payload
_MOST_BYTES = 16 * 1024 * 1024
_RECEIVE_BYTES = 256 * 1024


class Kind(enum.IntEnum):
    """What a frame is."""

    ASK = 1  # JSON: the verb and its arguments
    PART = 2  # some of a body
    END = 3  # of a body
    ANSWER = 4  # JSON: the result
    FAULT = 5  # JSON: what went wrong
    ABANDON = 6  # nobody waits for the answer any more
    PULSE = 7  # still there


class WireError(Exception):
    """What came is not what this module sends: the stream cannot be used any longer."""


class Frame(NamedTuple):
    """One message."""

    kind: Kind
    request: int
    payload: bytes


class FrameWriter:
    """Writes frames, whole, from any thread; deflated where that is faster than the stream is."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._advice = _DeflationAdvice()

    def send(self, kind: Kind, request: int, payload: bytes = b"") -> None:
        """Write one frame; raises what `write` raises."""
        packed = self._advice.pack(payload)
        is_deflated = packed is not None
        content = payload if packed is None else packed
        header = _HEADER.pack(kind, is_deflated, request, len(content))
        with self._lock:
            began = time.monotonic()
            self._write(header + content)
            self._advice.note_write(len(content), time.monotonic() - began)


class FrameReader:
    """Reads frames; one thread does. `receive` gives at most so many bytes, none at the end."""

    def __init__(self, receive: Callable[[int], bytes], received: bytes = b"") -> None:
        self._receive = receive
        self._buffer = bytearray(received)

    def read(self) -> Optional[Frame]:
        """The next frame, or None at the end; WireError for anything that is no frame."""
        header = self._take(_HEADER.size)
        if header is None:
            return None
        number, is_deflated, request, length = _HEADER.unpack(header)
        if number not in Kind.__members__.values() or is_deflated > 1 or length > _MOST_BYTES:
            raise WireError("not a frame: {!r}".format(header))
        payload = self._take(length)
        if payload is None:
            return None
        return Frame(Kind(number), request, _inflate(payload) if is_deflated else payload)

    def _take(self, count: int) -> Optional[bytes]:
        buffer = self._buffer
        while len(buffer) < count:
            received = self._receive(max(count - len(buffer), _RECEIVE_BYTES))
            if not received:
                return None
            buffer += received
        taken = bytes(memoryview(buffer)[:count])
        del buffer[:count]
        return taken


class _DeflationAdvice:
    """Whether deflating pays, judged by how long it and the writing took so far."""

    _LEAST_BYTES = 1024
    _SAMPLE_BYTES = 8 * 1024
    _PROBE_EVERY = 16  # frames: the stream, or what is sent, may have changed
    _SHARE = 0.25  # of what is new in an average

    def __init__(self) -> None:
        self._write_cost = 50e-9  # seconds a byte: a network of 20 MB/s until more is known
        self._deflate_cost = 10e-9
        self._ratio = 0.4
        self._since_probe = 0

    def pack(self, payload: bytes) -> Optional[bytes]:
        """The payload deflated, or None where it had better go as it is."""
        if len(payload) < self._LEAST_BYTES:
            return None
        self._since_probe += 1
        if not self._pays():
            if self._since_probe < self._PROBE_EVERY:
                return None
            self._deflate(payload[: self._SAMPLE_BYTES])
            if not self._pays():
                return None
        packed = self._deflate(payload)
        return packed if len(packed) < len(payload) else None

    def note_write(self, count: int, seconds: float) -> None:
        """Learn from what was written; little says more of the machine than of the stream."""
        if count >= self._LEAST_BYTES:
            self._write_cost = self._average(self._write_cost, seconds / count)

    def _pays(self) -> bool:
        return self._deflate_cost + self._ratio * self._write_cost < self._write_cost

    def _deflate(self, content: bytes) -> bytes:
        self._since_probe = 0
        began = time.monotonic()
        packed = zlib.compress(content, 1)
        elapsed = time.monotonic() - began
        self._deflate_cost = self._average(self._deflate_cost, elapsed / len(content))
        self._ratio = self._average(self._ratio, len(packed) / len(content))
        return packed

    def _average(self, before: float, now: float) -> float:
        return before + self._SHARE * (now - before)


def _inflate(payload: bytes) -> bytes:
    inflator = zlib.decompressobj()
    try:
        content = inflator.decompress(payload, _MOST_BYTES)
    except zlib.error as error:
        raise WireError("a damaged frame: {}".format(error)) from None
    if not inflator.eof or inflator.unused_data:
        raise WireError("a damaged frame, or one that holds more than it may")
    return content
