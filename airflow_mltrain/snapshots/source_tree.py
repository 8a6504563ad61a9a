"""The source directory as it is found: walked without what is ignored, refused where needed."""
# ruff: noqa: PTH113, PTH115, PTH123
# Names are bytes here, which Path objects do not take.

from __future__ import annotations

import errno
import heapq
import os
import stat
from typing import TYPE_CHECKING, Literal, NamedTuple

from airflow_mltrain.errors import SnapshotError
from airflow_mltrain.runtime.job_agent.checkout import find_leaving_link
from airflow_mltrain.snapshots.ignore import IgnoreRules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_RACES = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO}
_NAMED_PATHS = 5
_MEGABYTE = 1_000_000


class SourceEntry(NamedTuple):
    """One file, link or directory, as it was found; its path is from the source directory."""

    kind: Literal["file", "link", "directory"]
    path: str
    status: os.stat_result
    target: str | None = None


def walk(source: bytes) -> list[SourceEntry]:
    """Everything in the directory that its rules do not ignore; ignored directories stay closed.

    Reads no file but the ignore files. Raises SnapshotError for what no snapshot can hold.
    """
    found = list(_walk(source))
    links = {entry.path: entry.target for entry in found if entry.target is not None}
    leaving = find_leaving_link(links)
    if leaving is not None:
        raise SnapshotError(
            f"{_show(source)}: the link {_show(leaving)} -> {_show(links[leaving])} leads outside "
            "the source directory; put the content inside and link to it with a relative path, or "
            "name the link in .amlignore"
        )
    return found


def over_limit(source: bytes, sizes: Iterable[tuple[int, str]], max_bytes: int) -> SnapshotError:
    """The error for files that are too much together, which names the largest."""
    sizes = list(sizes)
    total = sum(size for size, _ in sizes)
    largest = heapq.nlargest(_NAMED_PATHS, sizes)
    named = ", ".join(f"{_show(path)} ({_show_size(size)})" for size, path in largest)
    return SnapshotError(
        f"{_show(source)} holds {_show_size(total)}, and a snapshot may hold "
        f"{_show_size(max_bytes)}; the largest files are {named}. Name what the run does not need "
        "in .amlignore, or raise snapshot_max_megabytes in the [mltrain] section"
    )


def unreadable(path: bytes, error: OSError) -> SnapshotError:
    """The error for an entry that cannot be read, with the remedy that fits."""
    if error.errno in _RACES:
        return changed(path)
    return SnapshotError(
        f"{_show(path)} cannot be read: {error.strerror}; let this user read it, or name it in "
        ".amlignore"
    )


def changed(path: bytes) -> SnapshotError:
    """The error for an entry that does not hold still."""
    return SnapshotError(
        f"{_show(path)} changed or vanished while the snapshot was taken; submit again when "
        "nothing writes there, or name it in .amlignore"
    )


def to_text(name: bytes) -> str:
    """A name as text, whatever the locale; bytes that are not UTF-8 become surrogate escapes."""
    return name.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """The name that `to_text` read."""
    return text.encode("utf-8", "surrogateescape")


def _walk(source: bytes) -> Iterator[SourceEntry]:
    rules = IgnoreRules.at_root(_read_root_rules(source))
    waiting = [(b"", rules, _scan(source))]
    while waiting:
        prefix, rules, entries = waiting.pop()
        for entry in entries:
            path = prefix + entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            if rules.ignores(path, entry.name, is_directory=is_directory):
                continue
            found = _look_at(entry, path)
            yield found
            if found.kind != "directory":
                continue
            inside = _scan(entry.path)
            own = _find_rules(inside)
            below = rules if own is None else rules.within(path, own)
            waiting.append((path + b"/", below, inside))


def _look_at(entry: os.DirEntry[bytes], path: bytes) -> SourceEntry:
    try:
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            return SourceEntry("file", to_text(path), status)
        if stat.S_ISLNK(status.st_mode):
            return SourceEntry("link", to_text(path), status, to_text(os.readlink(entry.path)))
        if stat.S_ISDIR(status.st_mode):
            return SourceEntry("directory", to_text(path), status)
    except OSError as error:
        raise unreadable(entry.path, error) from error
    raise SnapshotError(
        f"{_show(entry.path)} is a socket, a pipe or a device, which no snapshot can hold; remove "
        "it, or name it in .amlignore"
    )


def _scan(directory: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError as error:
        raise unreadable(directory, error) from error


def _read_root_rules(source: bytes) -> bytes:
    """`.amlignore`, even an empty one, else `.gitignore`."""
    chosen = source + b"/.amlignore"
    if os.path.isfile(chosen):
        return _read(chosen)
    return _find_rules(_scan(source)) or b""


def _find_rules(entries: Iterable[os.DirEntry[bytes]]) -> bytes | None:
    for entry in entries:
        if entry.name == b".gitignore" and entry.is_file(follow_symlinks=False):
            return _read(entry.path)
    return None


def _read(path: bytes) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise unreadable(path, error) from error


def _show(path: str | bytes) -> str:
    name = to_bytes(path) if isinstance(path, str) else path
    return name.decode("utf-8", "backslashreplace")


def _show_size(size: int) -> str:
    return f"{size:,} bytes" if size < _MEGABYTE else f"{size / _MEGABYTE:,.1f} MB"
