"""Ports of the loopback interface that nobody listens on."""

from __future__ import annotations

import secrets
import socket
from contextlib import closing, suppress

# Below those that Linux gives to whoever asks for any, who would else take one before it is used.
_PORTS = range(15_000, 32_000)
_given: set[int] = set()


def find_free_port() -> int:
    """One that this process has not been given before; by chance, for others look as well."""
    while True:
        port = secrets.choice(_PORTS)
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
