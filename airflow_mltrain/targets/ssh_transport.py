"""What paramiko runs on a socket of ours: found again, and kept from filling task logs."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Final
from weakref import WeakSet

import paramiko

_LOGGER: Final = logging.getLogger("paramiko.transport")


class _Demotion(logging.Filter):
    """Makes debug messages of what the threads of our sockets say: errors are told in words."""

    def __init__(self) -> None:
        super().__init__()
        self.sockets: WeakSet[object] = WeakSet()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is logged."""
        thread = threading.current_thread()
        if not isinstance(thread, paramiko.Transport) or thread.sock not in self.sockets:
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return _LOGGER.isEnabledFor(logging.DEBUG)


_demotion: Final = _Demotion()


def keep_quiet(sock: object) -> None:
    """Have paramiko say at level DEBUG whatever it says of this socket's connection."""
    _demotion.sockets.add(sock)
    _LOGGER.addFilter(_demotion)  # nothing, where it is there


def find_transport(sock: object) -> paramiko.Transport | None:
    """The live connection on a socket that was given to paramiko."""
    for thread in threading.enumerate():
        if isinstance(thread, paramiko.Transport) and thread.sock is sock:
            return thread
    return None


def find_host_key(sock: object) -> paramiko.PKey | None:
    """The key that the host on this socket presented, if keys were exchanged and it lives."""
    transport = find_transport(sock)
    with suppress(paramiko.SSHException):
        return None if transport is None else transport.get_remote_server_key()
    return None
