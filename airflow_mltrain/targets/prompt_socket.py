"""A socket for a conversation of many small messages."""

from __future__ import annotations

import socket
from contextlib import suppress


class PromptSocket(socket.socket):
    """A socket that neither holds back what is small nor what acknowledges it.

    sshd sends little things one after the other: with Nagle's algorithm there and delayed
    acknowledgments here, an exchange takes 45 ms, without 2.
    """

    @classmethod
    def connected_to(cls, host: str, port: int, timeout_seconds: float) -> PromptSocket:
        """Connect to the first of the host's addresses that answers."""
        plain = socket.create_connection((host, port), timeout_seconds)
        prompt = cls(plain.family, plain.type, plain.proto, plain.detach())
        prompt.settimeout(timeout_seconds)
        prompt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return prompt

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """The same, acknowledged at once; the kernel forgets the option time and again."""
        received = super().recv(bufsize, flags)
        with suppress(OSError):  # what has arrived counts, also from one who hung up
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return received
