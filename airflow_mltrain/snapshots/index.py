"""The index of a source directory: which files need not be read again."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from pathlib import Path

_VERSION = 1
_NANOSECONDS_PER_MILLISECOND = 1_000_000
_FINE_MARGIN = 20 * _NANOSECONDS_PER_MILLISECOND
_COARSE_MARGIN = 2_000 * _NANOSECONDS_PER_MILLISECOND

_Row = list[Any]  # size, mtime and ctime in nanoseconds, inode, digest: as JSON gives it back


class Index:
    """The digests of a directory's files, each valid while the file's status stays as it is.

    An index only saves time: one that is missing, damaged or another directory's counts as empty,
    and one that cannot be written is not. Processes may use it at once; the last to save wins.
    """

    def __init__(self, directory: Path, source: bytes) -> None:
        self._path = directory / f"{hashlib.sha256(source).hexdigest()}.json"
        self._header = f"airflow-mltrain index {_VERSION} {self._path.stem}"
        self._old = self._load()
        self._new: dict[str, _Row] = {}

    def find(self, path: str, status: os.stat_result) -> str | None:
        """The digest of the file's content, if it cannot have changed since it was read."""
        row = self._old.get(path)
        if row is None:
            return None
        digest: str
        size, mtime_ns, ctime_ns, inode, digest = row
        if (
            status.st_ctime_ns != ctime_ns
            or status.st_mtime_ns != mtime_ns
            or status.st_size != size
            or status.st_ino != inode
        ):
            return None
        self._new[path] = row
        return digest

    def record(self, path: str, status: os.stat_result, digest: str, read_at_ns: int) -> None:
        """Remember what was read since `read_at_ns` from a file with this status.

        Nothing is remembered of a file touched so shortly before that a later change could leave
        it the same times.
        """
        is_fine = status.st_ctime_ns % _NANOSECONDS_PER_MILLISECOND != 0
        margin = _FINE_MARGIN if is_fine else _COARSE_MARGIN
        if max(status.st_mtime_ns, status.st_ctime_ns) < read_at_ns - margin:
            self._new[path] = [
                status.st_size,
                status.st_mtime_ns,
                status.st_ctime_ns,
                status.st_ino,
                digest,
            ]
        else:
            self._new.pop(path, None)

    def save(self) -> None:
        """Keep what was found and recorded, and forget the rest."""
        if self._new == self._old:
            return
        body = json.dumps(self._new, separators=(",", ":")).encode("ascii")
        head = f"{self._header} {hashlib.sha256(body).hexdigest()}\n".encode("ascii")
        draft = self._path.with_suffix(f".{token_hex(8)}")
        with suppress(OSError):
            draft.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(head + body)
            draft.replace(self._path)
        with suppress(OSError):
            draft.unlink(missing_ok=True)

    def _load(self) -> dict[str, _Row]:
        try:
            head, _, body = self._path.read_bytes().partition(b"\n")
        except OSError:
            return {}
        if head.decode("ascii", "replace") != f"{self._header} {hashlib.sha256(body).hexdigest()}":
            return {}
        rows: dict[str, _Row] = json.loads(body)
        return rows
