"""What an ended job leaves, as it goes out over a stream: its log, `outputs/` and `logs/`."""

import json
import os
import stat
import struct
from typing import Any, Callable, Dict, List

from .folder import JobFolder
from .wire import PART_BYTES

ENTRY_LENGTH = struct.Struct(">I")  # of the JSON that comes before an entry's content


def deliver(
    folder: JobFolder,
    have: Dict[str, int],
    send_part: Callable[[bytes], None],
    *,
    with_log: bool = True,
) -> List[str]:
    """Send entries, folders before what is in them, and return the paths that were left behind.

    An entry is the length of its description, the description, and a file's content past the bytes
    that the receiver says it has. Devices, pipes and links that lead outside are left behind, and
    so is what may not be read.
    """
    parcel = _Parcel(send_part)
    left_behind: List[str] = []
    log = (folder.log,) if with_log else ()
    for top in (*log, folder.outputs, folder.watched_logs):
        if os.path.lexists(top):
            _deliver_tree(top, have, parcel, left_behind)
    parcel.flush()
    return left_behind


class _Parcel:
    """Gathers what is small, so that a part is worth its frame."""

    def __init__(self, send_part: Callable[[bytes], None]) -> None:
        self._send_part = send_part
        self._pieces: List[bytes] = []
        self._count = 0

    def add(self, content: bytes) -> None:
        self._pieces.append(content)
        self._count += len(content)
        if self._count >= PART_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._count:
            self._send_part(b"".join(self._pieces))
        self._pieces, self._count = [], 0


def _deliver_tree(top: str, have: Dict[str, int], parcel: _Parcel, left_behind: List[str]) -> None:
    base = os.path.dirname(top)
    root = os.path.realpath(top)

    def deliver_one(path: str) -> None:
        name = os.path.relpath(path, base)
        try:
            is_sent = _deliver_one(path, name, root, have.get(name, 0), parcel)
        except PermissionError:
            is_sent = False
        if not is_sent:
            left_behind.append(name)

    deliver_one(top)
    if os.path.islink(top) or not os.path.isdir(top):
        return

    def note(error: OSError) -> None:
        left_behind.append(os.path.relpath(error.filename, base))

    for folder, folders, files in os.walk(top, onerror=note):
        for entry in [*folders, *files]:
            deliver_one(os.path.join(folder, entry))


def _deliver_one(path: str, name: str, root: str, begin: int, parcel: _Parcel) -> bool:
    mode = os.lstat(path).st_mode
    entry: Dict[str, Any] = {"path": name, "mode": stat.S_IMODE(mode)}
    if stat.S_ISLNK(mode):
        target = os.path.realpath(path)
        if not target.startswith(root + os.sep):
            return False
        way = os.path.relpath(target, os.path.realpath(os.path.dirname(path)))
        _announce(parcel, dict(entry, kind="link", target=way))
    elif stat.S_ISDIR(mode):
        _announce(parcel, dict(entry, kind="directory"))
    elif stat.S_ISREG(mode):
        _deliver_file(path, dict(entry, kind="file"), begin, parcel)
    else:
        return False
    return True


def _deliver_file(path: str, entry: Dict[str, Any], begin: int, parcel: _Parcel) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        begin = min(begin, size)
        _announce(parcel, dict(entry, size=size, begin=begin))
        os.lseek(descriptor, begin, os.SEEK_SET)
        remaining = size - begin
        while remaining:
            content = os.read(descriptor, min(remaining, PART_BYTES))
            if not content:
                raise OSError("{} became shorter while it was read".format(path))
            parcel.add(content)
            remaining -= len(content)
    finally:
        os.close(descriptor)


def _announce(parcel: _Parcel, entry: Dict[str, Any]) -> None:
    description = json.dumps(entry).encode()
    parcel.add(ENTRY_LENGTH.pack(len(description)) + description)
