"""The artifact store at a URL that fsspec knows, such as a bucket of S3's."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_mltrain.artifacts.draft import filled, remove_older
from airflow_mltrain.artifacts.known_blobs import KnownBlobs
from airflow_mltrain.artifacts.objects import Objects
from airflow_mltrain.artifacts.remote_blobs import LostCopyError, RemoteBlobs
from airflow_mltrain.artifacts.remote_run import (
    RemoteRun,
    RunManifest,
    manifest_key,
    prefix_of,
    store_files,
)
from airflow_mltrain.artifacts.store_lock import StoreLock, StoreUse
from airflow_mltrain.errors import ArtifactError, StoreUnreachableError
from airflow_mltrain.snapshots.snapshot import Snapshot, restore_snapshot, take_snapshot

if TYPE_CHECKING:
    from airflow_mltrain.settings import StoreUrl
    from airflow_mltrain.snapshots.source_tree import Rules

_RUNS: Final = "runs"
_MANIFEST: Final = "manifest.json"
_ATTEMPTS: Final = 3
_OLD_DRAFT_SECONDS: Final = 24 * 3600.0
_REMEMBERED_SECONDS: Final = 10.0


class _Using(threading.local):
    """What a thread has in use."""

    use: StoreUse | None = None


class RemoteStore:
    """Objects `blobs/`, `snapshots/`, `runs/<run_id>/`, and a cache folder on each machine.

    What its methods promise is said by `store.ArtifactStore`. Everything in the cache may be
    removed at any time when nobody is at work.
    """

    def __init__(self, url: StoreUrl, cache: Path) -> None:
        self._url = url
        self._cache = cache
        self._objects = Objects(url)
        self._lock = StoreLock(self._objects)
        self._using = _Using()
        self._last: tuple[str, RemoteRun, float] | None = None
        self.blobs = RemoteBlobs(self._objects, self._lock, cache)

    @property
    def address(self) -> str:
        """Where it lies, for people to read."""
        return str(self._url)

    def connect(self) -> None:
        """Look up the connection whose credentials it needs, where that was not done before."""
        self._objects.connect()

    def take_snapshot(
        self, source_directory: Path, *, max_bytes: int, rules: Rules | None = None
    ) -> Snapshot:
        """Store a source directory as it is now: here first, then what the store lacks."""
        use = self._using.use
        if use is None:
            with self.used():
                return self.take_snapshot(source_directory, max_bytes=max_bytes, rules=rules)
        is_passing = source_directory.is_relative_to(self._drafts)
        place = source_directory.parent if is_passing else self._cache
        known = KnownBlobs(place / "known-blobs", source_directory, use.epoch)
        for _ in range(_ATTEMPTS):
            snapshot = take_snapshot(
                source_directory,
                self.blobs.cache,
                index_directory=place / "snapshot-indexes",
                max_bytes=max_bytes,
                rules=rules,
            )
            digests = {entry.sha256 for entry in snapshot.manifest.entries if entry.sha256}
            try:
                self.blobs.send(snapshot.snapshot_id, digests, known)
            except LostCopyError:
                self.blobs.forget_copy(snapshot.snapshot_id)
                continue
            self.blobs.trim_cache()
            return snapshot
        raise ArtifactError(
            f"blobs of {source_directory} go from the cache {self._cache} as soon as they are in "
            "it; see what cleans it up"
        )

    def restore_snapshot(self, snapshot_id: str, destination: Path) -> None:
        """Lay out a snapshot."""
        self.blobs.read(snapshot_id)
        self.blobs.paths(self.blobs.cache.listed_in([snapshot_id]))
        restore_snapshot(snapshot_id, self.blobs.cache, destination)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep what is in the store from being removed, until what refers to it is recorded."""
        outer = self._using.use
        with self._lock.used() as use:
            self._using.use = use
            try:
                yield
            finally:
                self._using.use = outer

    def require_used(self) -> None:
        """Raise ArtifactError where `used` has not kept what it should, which few see."""
        if self._using.use is not None:
            self._using.use.require()

    @contextmanager
    def alone(self, patience_seconds: float) -> Iterator[bool]:
        """Whether, after so long a wait, nobody is about to refer to what is in the store."""
        with self._lock.alone(patience_seconds) as is_alone:
            yield is_alone

    def now(self) -> float:
        """The time by the clock that says when a blob was modified."""
        return self._lock.now()

    def find_run(self, run_id: str) -> RemoteRun | None:
        """What was kept of a run."""
        last = self._last
        if last is not None and last[0] == run_id and time.monotonic() < last[2]:
            return last[1]  # who copies many files of a run asks once for what there is
        kept = self._read_run(run_id)
        if kept is not None:
            self._last = (run_id, kept, time.monotonic() + _REMEMBERED_SECONDS)
        return kept

    def outputs_uri(self, run_id: str) -> str:
        """Where the run's outputs lie once it has ended, as a URI."""
        kept = self.find_run(run_id)
        return self._objects.uri(f"{prefix_of(run_id)}") if kept is None else kept.outputs_uri

    @contextmanager
    def keep_run(self, run_id: str) -> Iterator[Path]:
        """Yield an empty folder that becomes the run's artifacts, whole or not at all."""
        self._remove_old_drafts()
        draft = self._drafts / f"{run_id}.{uuid.uuid4().hex}"
        try:
            with filled(draft):
                yield draft
            with self._lock.used() as use:  # what an earlier try has uploaded stays meanwhile
                self._store(run_id, draft, use)
        except (OSError, ArtifactError) as error:
            is_silent = isinstance(error, StoreUnreachableError)
            raise (StoreUnreachableError if is_silent else ArtifactError)(
                f"the artifacts of run {run_id} could not be stored: {error}; its target still "
                "has them: mend the cause, then wait for the run again"
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def run_ids(self) -> list[str]:
        """The runs that something was kept of."""
        found = (one.key.split("/") for one in self._objects.list_below(_RUNS))
        return sorted(key[1] for key in found if key[2:] == [_MANIFEST])

    def remove_run(self, run_id: str) -> None:
        """Remove what was kept of a run, so that it is there whole or not at all."""
        self._last = None
        self._lock.remove([manifest_key(run_id)])
        self._lock.remove([one.key for one in self._objects.list_below(prefix_of(run_id))])

    def remove_drafts(self, modified_before: float) -> None:
        """Remove what killed processes left half-written of runs, as far as it is so old."""
        old: dict[str, list[str]] = defaultdict(list)
        for one in self._objects.list_below(_RUNS):
            run_id = one.key.split("/")[1]
            if one.modified_at < modified_before and one.key != manifest_key(run_id):
                old[run_id].append(one.key)

        def strange_to(run_id: str) -> list[str]:
            kept = self._read_run(run_id)
            return [key for key in old[run_id] if kept is None or not kept.has_object(key)]

        self._lock.remove(
            [key for keys in self._objects.for_each(strange_to, old) for key in keys]
        )
        self._remove_old_drafts()

    def _read_run(self, run_id: str) -> RemoteRun | None:
        data = self._objects.read(manifest_key(run_id))
        if data is None:
            return None
        try:
            manifest = RunManifest.decode(data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"{self._objects.uri(manifest_key(run_id))} is no manifest of a run that this "
                f"version can read: {error}"
            ) from error
        return RemoteRun(self._objects, run_id, manifest, self._drafts)

    def _store(self, run_id: str, draft: Path, use: StoreUse) -> None:
        if self.find_run(run_id) is not None:
            return
        manifest = RunManifest.of(draft)
        store_files(self._objects, run_id, draft, manifest)
        use.require()
        try:
            self._objects.create(manifest_key(run_id), manifest.encode())
        except ArtifactError:
            if self.find_run(run_id) is None:  # what was cut off may have come through
                raise

    @property
    def _drafts(self) -> Path:
        return self._cache / "drafts"

    def _remove_old_drafts(self) -> None:
        """Remove folders that killed processes left on this machine."""
        with suppress(FileNotFoundError):
            for folder in list(self._drafts.iterdir()):
                with suppress(OSError):
                    remove_older(folder, time.time() - _OLD_DRAFT_SECONDS)
