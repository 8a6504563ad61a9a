"""Taking a snapshot of a source directory, and laying one out again."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

from airflow_mltrain.errors import ArtifactError, SnapshotError
from airflow_mltrain.garbage_collection import no_collections
from airflow_mltrain.runtime.job_agent.checkout import check_out
from airflow_mltrain.snapshots.index import Index
from airflow_mltrain.snapshots.manifest import Entry, Manifest
from airflow_mltrain.snapshots.source_tree import (
    Rules,
    SourceEntry,
    changed,
    over_limit,
    read_rules,
    to_bytes,
    unreadable,
    walk,
)

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.snapshots.blob_store import BlobStore

_ATTEMPTS = 3
_MODES = [f"{bits:o}" for bits in range(0o1000)]
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Snapshot(NamedTuple):
    """A source directory as it was, stored by content."""

    snapshot_id: str
    manifest: Manifest
    size_bytes: int
    stored_blobs: int  # contents the store did not have before; the manifest does not count


def take_snapshot(
    source_directory: Path,
    store: BlobStore,
    *,
    index_directory: Path,
    max_bytes: int,
    rules: Rules | None = None,
) -> Snapshot:
    """Store the source directory as it is now; equal directories get equal ids.

    What stays out is said by its `.amlignore` or `.gitignore` files, unless `rules` are given. May
    be repeated, and called by any number of processes at once; files that have not changed since
    are not read again. Raises SnapshotError for a directory that cannot be stored as it is, before
    anything is stored where the walk can tell, and ArtifactError where the store fails.
    """
    with no_collections():  # tens of thousands of small values are made
        source = _resolve(source_directory)
        index = Index(index_directory, source)
        return _take(source, store, index, max_bytes, rules or read_rules(source))


def _take(source: bytes, store: BlobStore, index: Index, max_bytes: int, rules: Rules) -> Snapshot:
    ignore_file = rules.ignore_file
    found = walk(source, rules)
    _refuse_own_store(source, found, store, ignore_file)
    files = [entry for entry in found if entry.kind == "file"]
    if sum(file.status.st_size for file in files) > max_bytes:
        sizes = ((file.status.st_size, file.path) for file in files)
        raise over_limit(source, sizes, max_bytes, ignore_file)
    taking = _Taking(source, store, index, ignore_file)
    others = [_describe(entry) for entry in found if entry.kind != "file"]
    entries = {entry.path: entry for entry in [*others, *map(taking.describe_file, files)]}
    manifest = Manifest(tuple(entries.values()))
    if not store.renew(manifest.snapshot_id):
        lost = store.missing(taking.unread_digests)
        for file in files:
            if entries[file.path].sha256 in lost:
                entries[file.path] = taking.read_file(file)
        manifest = Manifest(tuple(entries.values())) if lost else manifest
        if manifest.size_bytes > max_bytes:  # a file grew after the walk
            sizes = ((entry.size or 0, entry.path) for entry in manifest.entries)
            raise over_limit(source, sizes, max_bytes, ignore_file)
        store.put_bytes(manifest.encode())
    taking.index.save()
    return Snapshot(manifest.snapshot_id, manifest, manifest.size_bytes, taking.stored_blobs)


def restore_snapshot(snapshot_id: str, store: BlobStore, destination: Path) -> None:
    """Lay out a snapshot in a new directory, or one that an interrupted call left."""
    manifest = store.read(snapshot_id)
    try:
        check_out(manifest, os.fspath(store.root), os.fspath(destination))
    except ValueError as error:
        raise SnapshotError(f"snapshot {snapshot_id} cannot be laid out: {error}") from error
    except OSError as error:
        raise ArtifactError(
            f"snapshot {snapshot_id} cannot be laid out in {destination}: {error}; mend the cause "
            "and repeat"
        ) from error


class _Taking:
    """One taking of a snapshot: where files come from, where they go, and what was new."""

    def __init__(self, source: bytes, store: BlobStore, index: Index, ignore_file: str) -> None:
        self.index = index
        self.unread_digests: set[str] = set()
        self.stored_blobs = 0
        self._source = source
        self._store = store
        self._ignore_file = ignore_file

    def describe_file(self, file: SourceEntry) -> Entry:
        digest = self.index.find(file.path, file.status)
        if digest is None:
            return self.read_file(file)
        self.unread_digests.add(digest)
        return _file_entry(file.path, file.status, digest)

    def read_file(self, file: SourceEntry) -> Entry:
        path = self._source + b"/" + to_bytes(file.path)
        try:
            for _ in range(_ATTEMPTS):
                entry = self._read_once(path, file.path)
                if entry is not None:
                    return entry
        except OSError as error:
            raise unreadable(path, error, self._ignore_file) from error
        raise changed(path, self._ignore_file)

    def _read_once(self, path: bytes, name: str) -> Entry | None:
        """The file and its content at one moment; None if it changed between."""
        descriptor = os.open(path, _OPEN)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise changed(path, self._ignore_file)
            read_at_ns = time.time_ns()
            blob = self._store.put_descriptor(descriptor)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        self.stored_blobs += blob.is_new
        times = [(status.st_mtime_ns, status.st_ctime_ns) for status in (before, after)]
        if times[0] != times[1] or blob.size != after.st_size:
            return None
        self.index.record(name, after, blob.digest, read_at_ns)
        return _file_entry(name, after, blob.digest)


def _resolve(source_directory: Path) -> bytes:
    if not source_directory.is_dir():
        problem = "is not a directory" if source_directory.exists() else "does not exist"
        raise SnapshotError(
            f"the source directory {source_directory} {problem}; name the folder that holds the "
            "script"
        )
    return os.fsencode(source_directory.resolve())


def _refuse_own_store(
    source: bytes, found: list[SourceEntry], store: BlobStore, ignore_file: str
) -> None:
    root = os.fsencode(store.root.resolve())
    if root != source and not root.startswith(source + b"/"):
        return
    inside = root[len(source) + 1 :]
    if not inside or any(to_bytes(entry.path) == inside for entry in found):
        raise SnapshotError(
            f"the artifact store {store.root} lies in {os.fsdecode(source)}, so every snapshot "
            f"would hold all earlier ones; name it in {ignore_file}, or move one of the two"
        )


def _describe(entry: SourceEntry) -> Entry:
    if entry.kind == "link":
        return Entry("link", entry.path, target=entry.target)
    return Entry("directory", entry.path, _MODES[entry.status.st_mode & 0o777])


def _file_entry(path: str, status: os.stat_result, digest: str) -> Entry:
    return Entry("file", path, _MODES[status.st_mode & 0o777], digest, status.st_size)
