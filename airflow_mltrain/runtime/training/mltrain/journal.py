"""The journal of a job: every line that its scripts write about their runs, in one file.

Appending is one system call on a file that many processes share, so that lines of threads, forked
and child processes never mix, and a process that is killed loses nothing that it wrote.
"""

import errno
import os
import sys
from typing import Any, Dict, Iterator, List, Optional

try:
    import fcntl
except ImportError:  # offline, on a system without it
    fcntl = None  # type: ignore[assignment]

_READ_BYTES = 1024 * 1024
# Out of the way of whoever closes every file and opens others: what is written here must not
# land in one of those.
_LOWEST_DESCRIPTOR = 200


class Journal:
    """The file at `path`; without one it is a temporary file, and what is added is shown."""

    def __init__(self, path: Optional[str]) -> None:
        self.is_offline = path is None
        self._path = path
        self._descriptor: Optional[int] = None
        self._is_line_open = False

    @property
    def path(self) -> str:
        """Where it lies; offline it is made when that is first asked for."""
        if self._path is None:
            self._path = _make_temporary()
        return self._path

    def append(self, line: bytes) -> None:
        """Add a line, which ends with a newline; it is written when this returns."""
        if self._is_line_open:  # the disk was full in the middle of the last one
            line = b"\n" + line
        descriptor = self._descriptor
        if descriptor is None:
            descriptor = self._open()
        try:
            count = os.write(descriptor, line)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            count = os.write(self._open(), line)  # the script closed every file there was
        self._is_line_open = count < len(line)

    def read(self) -> bytes:
        """All that was written so far, whole lines only."""
        return b"".join(self.read_from(0))

    def read_from(self, position: int) -> Iterator[bytes]:
        """Whole lines past a position in bytes, in pieces that end with a newline."""
        if self._path is None or not os.path.exists(self._path):
            return
        rest = b""
        with open(self._path, "rb") as file:
            file.seek(position)
            while True:
                content = file.read(_READ_BYTES)
                if not content:
                    return
                whole, newline, rest_behind = content.rpartition(b"\n")
                if newline:
                    yield rest + whole + newline
                    rest = rest_behind
                else:
                    rest += content

    def show(self, words: str) -> None:
        """Tell whoever runs the script offline; nothing where its output is closed."""
        if self.is_offline:
            try:
                print(words, flush=True)
            except (ValueError, OSError, AttributeError):  # closed, broken, or none at all
                return

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        opened = _move_up(os.open(self.path, flags, 0o600))
        self._descriptor = opened  # of several threads that open it the last one's stays
        return opened


def say(words: str) -> None:
    """A line for the run's log; nothing where that is closed."""
    try:
        print("[mltrain] " + words, file=sys.stderr, flush=True)
    except (ValueError, OSError, AttributeError):
        return


def _move_up(descriptor: int) -> int:
    moved = descriptor
    if fcntl is not None:
        try:
            moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _LOWEST_DESCRIPTOR)
        except OSError:  # so many files may not be open here
            return descriptor
        os.close(descriptor)
    return moved


def _make_temporary() -> str:
    import atexit  # noqa: PLC0415  # offline only
    import shutil  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    folder = tempfile.mkdtemp(prefix="mltrain-")
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return os.path.join(folder, "metrics.jsonl")


def decode_lines(content: bytes) -> List[Dict[str, Any]]:
    """The messages among whole lines; what is not ours is passed over."""
    import json  # noqa: PLC0415  # loaded by now

    found = []
    for line in content.split(b"\n"):
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict) and isinstance(message.get("name"), str):
            found.append(message)
    return found
