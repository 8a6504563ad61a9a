"""A process in a container as a stream of bytes: its standard input and output."""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from typing import Any, Final

_LOOK_SECONDS: Final = 5.0
_STUCK_SECONDS: Final = 30.0
_HEADER: Final = struct.Struct(">BxxxI")  # which output, bytes of it
_RECEIVE_BYTES: Final = 256 * 1024
_WAITING: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class EngineStream:
    """The hijacked connection of an exec or a container's own, as docker-py gives it.

    What the engine multiplexes is put together again; both outputs are one. One thread may receive
    while others send.
    """

    def __init__(self, connection: Any) -> None:
        self._kept = connection  # which closes the socket when it is forgotten
        self._socket = getattr(connection, "_sock", connection)
        self._response = getattr(connection, "_response", None)
        self._lock = threading.Lock()  # a TLS connection is used by one thread at a time
        self._buffer = bytearray()
        self._left = 0  # bytes of the frame under way
        self._socket.settimeout(0)

    def receive(self, count: int) -> bytes:
        """As `Stream` says."""
        while not self._left:
            while len(self._buffer) < _HEADER.size:
                if not self._fill():
                    return b""
            _, self._left = _HEADER.unpack_from(self._buffer)
            del self._buffer[: _HEADER.size]
        if not self._buffer and not self._fill():
            return b""
        taken = bytes(memoryview(self._buffer)[: min(count, self._left)])
        del self._buffer[: len(taken)]
        self._left -= len(taken)
        return taken

    def send(self, content: bytes) -> None:
        """As `Stream` says; an engine that takes nothing for half a minute is lost."""
        view = memoryview(content)
        deadline = time.monotonic() + _STUCK_SECONDS
        while view:
            sent = self._send_some(view)
            if sent:
                view = view[sent:]
                deadline = time.monotonic() + _STUCK_SECONDS
            elif time.monotonic() > deadline:
                raise TimeoutError("the engine takes nothing any more")

    def close(self) -> None:
        """As `Stream` says."""
        with suppress(OSError, EOFError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._let_go()

    def __del__(self) -> None:
        self._let_go()  # without a word: in a forked child it is not its own

    def _let_go(self) -> None:
        with suppress(OSError, EOFError):
            if self._response is not None:  # it has the socket too
                self._response.close()
            self._kept.close()
            self._socket.close()

    def disown(self) -> None:
        """As `Stream` says."""
        with suppress(OSError):
            number = self._socket.detach()
            if number >= 0:  # it was not closed before
                os.close(number)

    def _fill(self) -> bool:
        """Receive some; False at the end, TimeoutError after a while without any."""
        deadline = time.monotonic() + _LOOK_SECONDS
        while True:
            try:
                with self._lock:
                    received = self._socket.recv(_RECEIVE_BYTES)
            except _WAITING:
                seconds = deadline - time.monotonic()
                if seconds <= 0:
                    raise TimeoutError from None
                select.select([self._socket], [], [], seconds)
            else:
                self._buffer += received
                return bool(received)

    def _send_some(self, view: memoryview) -> int:
        try:
            with self._lock:
                return int(self._socket.send(view))
        except _WAITING:
            select.select([], [self._socket], [], 1.0)
            return 0


class ChannelStream(EngineStream):
    """The same over `ssh://`, where the connection is a channel of paramiko's."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._socket.settimeout(_LOOK_SECONDS)

    def disown(self) -> None:
        """As `Stream` says."""
        with suppress(OSError, EOFError):
            self._socket.get_transport().sock.close()

    def _fill(self) -> bool:
        received = self._socket.recv(_RECEIVE_BYTES)
        self._buffer += received
        return bool(received)

    def _send_some(self, view: memoryview) -> int:
        try:
            sent = int(self._socket.send(view))
        except TimeoutError:
            return 0
        if not sent:
            raise EOFError("the connection was closed")
        return sent


def open_stream(connection: Any) -> EngineStream:
    """The stream over what `exec_start(socket=True)` or `attach_socket` gave."""
    return (
        ChannelStream(connection)
        if hasattr(connection, "get_transport")
        else EngineStream(connection)
    )
