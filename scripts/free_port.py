"""Ports of the loopback interface that nobody listens on."""

from __future__ import annotations

import random
import socket
from contextlib import closing, suppress

# Below those that Linux gives to whoever asks for any, who would else take one before it is used.
_PORTS = range(15_000, 32_000)
_given: set[int] = set()


def find_free_port() -> int:
    """One that this process has not been given before; by random, for others look as well."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
