"""An ended job's files as they arrive from its machine, which is not trusted with this one."""

import json
import os
from pathlib import Path
from typing import Any, Dict, Iterator, Optional

from .delivery import ENTRY_LENGTH

_MOST_DESCRIPTION_BYTES = 64 * 1024
_BLOCK_BYTES = 4096
_TOPS = ("log", "outputs", "logs")
_NONSENSE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)


class ImpossibleTreeError(Exception):
    """What came is not what `delivery.deliver` sends."""


class ReceivedTree:
    """Writes what `delivery.deliver` sends below an empty folder, and nothing anywhere else.

    After a transfer that was cut, `have` says what need not come again.
    """

    def __init__(self, destination: Path) -> None:
        self._destination = destination
        self._folders = {""}
        self._kinds: Dict[str, str] = {}
        self._links: Dict[str, str] = {}
        self._files: Dict[str, int] = {}

    @property
    def have(self) -> Dict[str, int]:
        """The files that came, by path, and how many bytes of each."""
        return dict(self._files)

    def take(self, parts: Iterator[bytes]) -> None:
        """Write entries as they come; ImpossibleTreeError for one that no agent sends."""
        body = _Body(parts)
        try:
            while (length := body.read_some(ENTRY_LENGTH.size)) is not None:
                (count,) = ENTRY_LENGTH.unpack(length)
                self._take_one(_description(body, count), body)
        except _NONSENSE as error:
            raise ImpossibleTreeError(
                "the target sent outputs that cannot be: {!r}".format(error)
            ) from error

    def finish(self) -> None:
        """Make the links, once all came: until then nothing can be written through one."""
        for path, target in self._links.items():
            (self._destination / path).symlink_to(target)

    def _take_one(self, entry: Dict[str, Any], body: "_Body") -> None:
        path = entry["path"]
        self._require_sound(path)
        kind = entry["kind"]
        if self._kinds.setdefault(path, kind) != kind:
            raise ValueError("{!r} comes as two things".format(path))
        if kind == "directory":
            self._make_folder(path, int(entry["mode"]))
        elif kind == "link":
            self._require_inside(path, str(entry["target"]))
            self._links[path] = str(entry["target"])
        elif kind == "file":
            self._write_file(path, entry, body)
        else:
            raise ValueError("an entry of kind {!r}".format(kind))

    def _require_sound(self, path: object) -> None:
        if not isinstance(path, str) or "\0" in path:
            raise ValueError("no path: {!r}".format(path))
        os.fsencode(path)
        names = path.split("/")
        if names[0] not in _TOPS or {"", ".", ".."}.intersection(names):
            raise ValueError("a path that leads elsewhere: {!r}".format(path))
        if path.rpartition("/")[0] not in self._folders:
            raise ValueError("{!r} is not below a folder".format(path))

    def _require_inside(self, path: str, target: str) -> None:
        os.fsencode(target)
        way = os.path.normpath("{}/../{}".format(path, target))
        top = path.partition("/")[0]
        is_plain = target == os.path.normpath(target)  # no ".." behind a name that may be a link
        if (
            "\0" in target
            or target.startswith("/")
            or not is_plain
            or way.partition("/")[0] != top
        ):
            raise ValueError("a link that leads elsewhere: {!r} -> {!r}".format(path, target))

    def _make_folder(self, path: str, mode: int) -> None:
        if path not in self._folders:
            (self._destination / path).mkdir((mode & 0o777) | 0o700)
            self._folders.add(path)

    def _write_file(self, path: str, entry: Dict[str, Any], body: "_Body") -> None:
        begin, size = int(entry["begin"]), int(entry["size"])
        if not 0 <= begin <= size or begin > self._files.get(path, 0):
            raise ValueError("a file that cannot be: {!r}".format(entry))
        flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | (0 if begin else os.O_CREAT)
        descriptor = os.open(self._destination / path, flags, 0o600)
        try:
            os.ftruncate(descriptor, begin)
            os.lseek(descriptor, begin, os.SEEK_SET)
            self._files[path] = begin
            for chunk in body.pour(size - begin):
                _write_or_skip(descriptor, chunk)
                self._files[path] += len(chunk)
            os.ftruncate(descriptor, size)
            os.fchmod(descriptor, (int(entry["mode"]) & 0o777) | 0o600)
        finally:
            os.close(descriptor)


class _Body:
    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._piece = memoryview(b"")

    def read_some(self, count: int) -> Optional[bytes]:
        """So many bytes, or None at the end."""
        if not self._has_more():
            return None
        return self.read(count)

    def read(self, count: int) -> bytes:
        return b"".join(map(bytes, self.pour(count)))

    def pour(self, count: int) -> Iterator[memoryview]:
        while count:
            if not self._has_more():
                raise ValueError("it ends too early")
            chunk = self._piece[:count]
            self._piece = self._piece[len(chunk) :]
            count -= len(chunk)
            yield chunk

    def _has_more(self) -> bool:
        while not self._piece:
            piece = next(self._parts, None)
            if piece is None:
                return False
            self._piece = memoryview(piece)
        return True


def _description(body: "_Body", count: int) -> Dict[str, Any]:
    if count > _MOST_DESCRIPTION_BYTES:
        raise ValueError("a description without end")
    return dict(json.loads(body.read(count)))


def _write_or_skip(descriptor: int, content: memoryview) -> None:
    """Leave a hole for zeros: a sparse file may be much larger than any disk."""
    if bytes(content[:_BLOCK_BYTES]).strip(b"\0") or bytes(content).strip(b"\0"):
        _write_all(descriptor, content)
    else:
        os.lseek(descriptor, len(content), os.SEEK_CUR)


def _write_all(descriptor: int, content: memoryview) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
