"""How many handshakes with one host this machine begins at once.

By default sshd starts to turn connections away at random when ten have not logged in yet
(MaxStartups 10:30:100 in sshd_config(5)), and a hundred tasks may begin in the same second.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

_PLACES = 6  # some are left for people
_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.02


@contextmanager
def pass_gate(address: str) -> Iterator[None]:
    """Wait for one of the host's places, and hold it meanwhile.

    A crowd that does not move is joined after a minute: the host has the last word.
    """
    held = None
    with suppress(OSError):  # a full disk, say, is no reason not to connect
        held = _take_place(address)
    try:
        yield
    finally:
        if held is not None:
            fcntl.flock(held, fcntl.LOCK_UN)  # a process forked meanwhile has a copy of it
            os.close(held)


def _take_place(address: str) -> int | None:
    folder = _own_folder()
    if folder is None:
        return None
    name = sha256(address.encode()).hexdigest()[:16]
    deadline = time.monotonic() + _WAIT_SECONDS
    first = os.getpid()
    while time.monotonic() < deadline:
        for number in range(_PLACES):
            place = folder / f"{name}-{(first + number) % _PLACES}"
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            return descriptor
        time.sleep(_LOOK_SECONDS)
    return None


def _own_folder() -> Path | None:
    """A folder that only this user can write to; None where somebody else has taken its name."""
    folder = Path(tempfile.gettempdir()) / f"mltrain-handshakes-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return folder if is_own and not found.st_mode & 0o022 else None
