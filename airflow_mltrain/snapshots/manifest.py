"""The manifest: everything in a snapshot, and by its hash the snapshot's id."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from airflow_mltrain.errors import SnapshotError

_VERSION = 1
_quote = json.JSONEncoder().encode  # json.dumps takes twice the time, on every path
_DIRECTORY_KEYS = {"kind", "mode", "path"}
_FILE_KEYS = {"kind", "mode", "path", "sha256", "size"}
_LINK_KEYS = {"kind", "path", "target"}
_MODE = re.compile("[0-7]{1,3}")
_DIGEST = re.compile("[0-9a-f]{64}")


class Entry(NamedTuple):
    """One file, link or directory; `path` is relative, with `/` between names.

    A file has `mode`, `sha256` and `size`, a link has `target`, a directory has `mode`. Names that
    are not UTF-8 hold surrogate escapes.
    """

    kind: Literal["file", "link", "directory"]
    path: str
    mode: str | None = None  # the permission bits in octal, such as "644"
    sha256: str | None = None
    size: int | None = None
    target: str | None = None

    def encode(self) -> str:
        """The entry as a manifest's line, without its end; equal entries give equal lines."""
        path = _quote(self.path)
        if self.kind == "file":
            return (
                f'{{"kind":"file","mode":"{self.mode}","path":{path},'
                f'"sha256":"{self.sha256}","size":{self.size}}}'
            )
        if self.kind == "link":
            return f'{{"kind":"link","path":{path},"target":{_quote(self.target)}}}'
        return f'{{"kind":"directory","mode":"{self.mode}","path":{path}}}'


@dataclass(frozen=True)
class Manifest:
    """The entries of a snapshot; their order does not matter."""

    entries: tuple[Entry, ...]

    @cached_property
    def snapshot_id(self) -> str:
        """The SHA-256 of the encoded manifest, in hexadecimal."""
        return hashlib.sha256(self.encode()).hexdigest()

    @cached_property
    def size_bytes(self) -> int:
        """The size of all files together; equal files count each."""
        return sum(entry.size or 0 for entry in self.entries)

    def encode(self) -> bytes:
        """The manifest as JSON lines in ASCII, sorted by path, below a line with the version."""
        lines = [entry.encode() for entry in sorted(self.entries, key=attrgetter("path"))]
        return "\n".join([f'{{"version":{_VERSION}}}', *lines, ""]).encode("ascii")

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Read what `encode` wrote; raises SnapshotError for anything else, byte for byte."""
        try:
            header, *rows = [json.loads(line) for line in data.decode("ascii").splitlines()]
            version = header["version"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise SnapshotError(_damaged(data)) from error
        if version != _VERSION:
            raise SnapshotError(
                f"the manifest has version {version!r}, and this airflow-mltrain reads version "
                f"{_VERSION}; install the release that took the snapshot, or a newer one"
            )
        if not all(map(_is_sound, rows)):
            raise SnapshotError(_damaged(data))
        manifest = cls(tuple(Entry(**row) for row in rows))
        if manifest.encode() != data:
            raise SnapshotError(_damaged(data))
        return manifest


def _is_sound(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("path"), str):
        return False
    match row.get("kind"):
        case "link":
            return row.keys() == _LINK_KEYS and isinstance(row["target"], str)
        case "directory":
            return row.keys() == _DIRECTORY_KEYS and _is_text(row["mode"], _MODE)
        case "file":
            return (
                row.keys() == _FILE_KEYS
                and _is_text(row["mode"], _MODE)
                and _is_text(row["sha256"], _DIGEST)
                and type(row["size"]) is int
            )
        case _:
            return False


def _is_text(value: object, form: re.Pattern[str]) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def _damaged(data: bytes) -> str:
    return (
        f"the manifest ({len(data):,} bytes, starting {data[:40]!r}) is damaged or is none; "
        "submit again to take a new snapshot"
    )
