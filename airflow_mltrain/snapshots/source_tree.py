"""The source directory as it is found: walked without what is ignored, refused where needed."""
# ruff: noqa: PTH113, PTH115, PTH123
# Names are bytes here, which Path objects do not take.

from __future__ import annotations

import errno
import heapq
import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from airflow_mltrain.errors import SnapshotError
from airflow_mltrain.runtime.job_agent.checkout import find_leaving_link
from airflow_mltrain.snapshots.ignore import NESTED_FILE, IgnoreRules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Self

_RACES = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO}
_NAMED_PATHS = 5
_MEGABYTE = 1_000_000


class SourceEntry(NamedTuple):
    """One file, link or directory, as it was found; its path is from the source directory."""

    kind: Literal["file", "link", "directory"]
    path: str
    status: os.stat_result
    target: str | None = None


class Rules(Protocol):
    """What of one directory stays out; paths are bytes, from the root of the walk."""

    @property
    def ignore_file(self) -> str:
        """The name of the file in which a user says what stays out."""

    @property
    def keeps_leaving_links(self) -> bool:
        """Whether a link may lead outside the root."""

    def ignores(self, path: bytes, name: bytes, *, is_directory: bool) -> bool:
        """Whether this entry of the directory stays out; `path` ends in `name`."""

    def opens(self, path: bytes) -> bool:
        """Whether an ignored directory is looked into; it stays in if something in it does."""

    def below(self, path: bytes, read: Callable[[bytes], bytes | None]) -> Self:
        """The rules of a directory in this one; `read` reads a file there, if there is one."""


def read_rules(source: bytes) -> IgnoreRules:
    """The rules of a source directory: `.amlignore`, even an empty one, else `.gitignore`."""
    chosen = source + b"/" + IgnoreRules.ignore_file.encode()
    if os.path.isfile(chosen):
        return IgnoreRules.at_root(_read(chosen, IgnoreRules.ignore_file))
    entries = _scan(source, IgnoreRules.ignore_file)
    return IgnoreRules.at_root(_read_member(entries, IgnoreRules.ignore_file, NESTED_FILE) or b"")


def walk(source: bytes, rules: Rules) -> list[SourceEntry]:
    """Everything in the directory that the rules do not ignore; reads no file but ignore files.

    Raises SnapshotError for what no snapshot can hold.
    """
    found = list(_walk(source, rules))
    if rules.keeps_leaving_links:
        return found
    links = {entry.path: entry.target for entry in found if entry.target is not None}
    leaving = find_leaving_link(links)
    if leaving is not None:
        raise SnapshotError(
            f"{_show(source)}: the link {_show(leaving)} -> {_show(links[leaving])} leads outside "
            "the source directory; put the content inside and link to it with a relative path, or "
            f"name the link in {rules.ignore_file}"
        )
    return found


def over_limit(
    source: bytes, sizes: Iterable[tuple[int, str]], max_bytes: int, ignore_file: str
) -> SnapshotError:
    """The error for files that are too much together, which names the largest."""
    sizes = list(sizes)
    total = sum(size for size, _ in sizes)
    largest = heapq.nlargest(_NAMED_PATHS, sizes)
    named = ", ".join(f"{_show(path)} ({_show_size(size)})" for size, path in largest)
    return SnapshotError(
        f"{_show(source)} holds {_show_size(total)}, and a snapshot may hold "
        f"{_show_size(max_bytes)}; the largest files are {named}. Name what is not needed in "
        f"{ignore_file}, or raise snapshot_max_megabytes in the [mltrain] section"
    )


def unreadable(path: bytes, error: OSError, ignore_file: str) -> SnapshotError:
    """The error for an entry that cannot be read, with the remedy that fits."""
    if error.errno in _RACES:
        return changed(path, ignore_file)
    return SnapshotError(
        f"{_show(path)} cannot be read: {error.strerror}; let this user read it, or name it in "
        f"{ignore_file}"
    )


def changed(path: bytes, ignore_file: str) -> SnapshotError:
    """The error for an entry that does not hold still."""
    return SnapshotError(
        f"{_show(path)} changed or vanished while the snapshot was taken; repeat it when "
        f"nothing writes there, or name it in {ignore_file}"
    )


def to_text(name: bytes) -> str:
    """A name as text, whatever the locale; bytes that are not UTF-8 become surrogate escapes."""
    return name.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """The name that `to_text` read."""
    return text.encode("utf-8", "surrogateescape")


def _walk(source: bytes, rules: Rules) -> Iterator[SourceEntry]:
    ignore_file = rules.ignore_file
    opened: dict[str, SourceEntry] = {}  # ignored directories, until something in them stays in
    waiting = [(b"", rules, _scan(source, ignore_file))]
    while waiting:
        prefix, rules, entries = waiting.pop()
        for entry in entries:
            path = prefix + entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            is_ignored = rules.ignores(path, entry.name, is_directory=is_directory)
            if is_ignored and not (is_directory and rules.opens(path)):
                continue
            found = _look_at(entry, path, ignore_file)
            if is_ignored:
                opened[found.path] = found
            else:
                if opened:
                    yield from _take_parents(opened, found.path)
                yield found
            if found.kind == "directory":
                inside = _scan(entry.path, ignore_file, may_be_closed=is_ignored)
                read = partial(_read_member, inside, ignore_file)
                waiting.append((path + b"/", rules.below(path, read), inside))


def _take_parents(opened: dict[str, SourceEntry], path: str) -> Iterator[SourceEntry]:
    parent = path.rpartition("/")[0]
    while parent:
        if parent in opened:
            yield opened.pop(parent)
        parent = parent.rpartition("/")[0]


def _look_at(entry: os.DirEntry[bytes], path: bytes, ignore_file: str) -> SourceEntry:
    try:
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            return SourceEntry("file", to_text(path), status)
        if stat.S_ISLNK(status.st_mode):
            return SourceEntry("link", to_text(path), status, to_text(os.readlink(entry.path)))
        if stat.S_ISDIR(status.st_mode):
            return SourceEntry("directory", to_text(path), status)
    except OSError as error:
        raise unreadable(entry.path, error, ignore_file) from error
    raise SnapshotError(
        f"{_show(entry.path)} is a socket, a pipe or a device, which no snapshot can hold; remove "
        f"it, or name it in {ignore_file}"
    )


def _scan(
    directory: bytes, ignore_file: str, *, may_be_closed: bool = False
) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError as error:
        if may_be_closed and isinstance(error, PermissionError):
            return []
        raise unreadable(directory, error, ignore_file) from error


def _read_member(
    entries: Iterable[os.DirEntry[bytes]], ignore_file: str, name: bytes
) -> bytes | None:
    for entry in entries:
        if entry.name == name and entry.is_file(follow_symlinks=False):
            return _read(entry.path, ignore_file)
    return None


def _read(path: bytes, ignore_file: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise unreadable(path, error, ignore_file) from error


def _show(path: str | bytes) -> str:
    name = to_bytes(path) if isinstance(path, str) else path
    return name.decode("utf-8", "backslashreplace")


def _show_size(size: int) -> str:
    return f"{size:,} bytes" if size < _MEGABYTE else f"{size / _MEGABYTE:,.1f} MB"
