"""Blobs as objects, with copies on this machine."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.runtime.job_agent.checkout import blobs_of
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.blobs import ListedBlob

if TYPE_CHECKING:
    from airflow_mltrain.artifacts.known_blobs import KnownBlobs
    from airflow_mltrain.artifacts.objects import ListedObject, Objects
    from airflow_mltrain.artifacts.store_lock import StoreLock

FILES: Final = "blobs"
SNAPSHOTS: Final = "snapshots"
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_RENEWED_SECONDS: Final = 3600.0
_UNUSED_SECONDS: Final = 7 * 24 * 3600.0
_LOOK_SECONDS: Final = 24 * 3600.0
_LARGE_BYTES: Final = 4 << 20
_SMALL_BYTES: Final = 64 << 10
_SOME: Final = 16


class LostCopyError(Exception):
    """What is to be sent is neither in the store nor in the cache, though it was once."""


class RemoteBlobs:
    """Blobs at `blobs/<first two digits>/<digest>`, and manifests of snapshots at `snapshots/...`.

    What its methods promise is said by `snapshots.blobs.Blobs`.
    """

    def __init__(self, objects: Objects, lock: StoreLock, cache: Path) -> None:
        self._objects = objects
        self._lock = lock
        self._snapshots: dict[str, ListedObject] = {}  # as they were listed last
        self.cache = BlobStore(cache / "blobs")

    def put_bytes(self, data: bytes) -> str:
        """Store a blob and return its digest."""
        digest = self.cache.put_bytes(data)
        self._send_alone(digest)
        return digest

    def put_file(self, path: Path) -> tuple[str, int]:
        """Store a file's content, and return its digest and size in bytes."""
        digest, size = self.cache.put_file(path)
        self._send_alone(digest)
        return digest, size

    def send(self, snapshot_id: str, digests: Collection[str], known: KnownBlobs) -> None:
        """Send what the store lacks of a snapshot, its manifest last, which then counts as new.

        Raises LostCopyError, having sent nothing in vain, where the snapshot has to be taken anew.
        """
        unknown = known.unknown(digests)
        lacking = self._lacking(unknown)
        if lost := self.cache.missing([snapshot_id, *lacking]):
            raise LostCopyError(f"{len(lost)} blobs")
        sizes = {digest: self.cache.path(digest).stat().st_size for digest in lacking}
        self._objects.for_each(self._send, [d for d in lacking if sizes[d] < _LARGE_BYTES])
        for digest in lacking:
            if sizes[digest] >= _LARGE_BYTES:
                self._send(digest)
        seen = [*unknown]
        if known.age(snapshot_id) > _RENEWED_SECONDS:
            self._objects.write(_key(SNAPSHOTS, snapshot_id), self.cache.read(snapshot_id))
            seen.append(snapshot_id)
        known.save([snapshot_id, *digests], seen)

    def missing(self, digests: Iterable[str]) -> set[str]:
        """Which of these blobs the store lacks."""
        wanted = list(digests)
        found = self._objects.for_each(self._find, wanted)
        return {digest for digest, place in zip(wanted, found, strict=True) if place is None}

    def path(self, digest: str) -> Path:
        """A file on this machine that has the blob's bytes."""
        path = self.cache.path(digest)
        if not self.cache.renew(digest):
            self._fetch(self._require(digest), path)
        return path

    def paths(self, digests: Collection[str]) -> dict[str, Path]:
        """The same for many."""
        wanted = list(digests)
        self._objects.for_each(self.path, [d for d in wanted if not self.cache.renew(d)])
        return {digest: self.cache.path(digest) for digest in wanted}

    def read(self, digest: str) -> bytes:
        """The blob's bytes, checked against its digest."""
        self.path(digest)
        return self.cache.read(digest)

    def list_blobs(self) -> list[ListedBlob]:
        """Every blob."""
        found = [*self._objects.list_below(FILES), *self._objects.list_below(SNAPSHOTS)]
        snapshots = (one for one in found if one.key.startswith(f"{SNAPSHOTS}/"))
        self._snapshots = {_name(one): one for one in snapshots}
        return [ListedBlob(_name(one), one.size_bytes, one.modified_at) for one in found]

    def listed_in(self, digests: Collection[str]) -> set[str]:
        """The blobs that any of these lists which is a snapshot."""
        found: set[str] = set()
        adding = threading.Lock()

        def look_into(digest: str) -> None:
            if not self.cache.renew(digest):
                self._fetch(self._snapshots[digest], self.cache.path(digest))
            try:
                listed = blobs_of(self.cache.read(digest))
            except ValueError as error:
                raise ArtifactError(
                    f"{self._objects.uri(_key(SNAPSHOTS, digest))} cannot be read, so that nobody "
                    f"knows what it needs: {error}"
                ) from error
            with adding:  # what many list counts once
                found.update(listed)

        self._objects.for_each(look_into, [one for one in digests if one in self._snapshots])
        return found

    def remove(self, names: Collection[str]) -> None:
        """Remove what `list_blobs` named."""
        snapshots = [_key(SNAPSHOTS, name) for name in names if name in self._snapshots]
        files = [_key(FILES, name) for name in names if name not in self._snapshots]
        for keys in (snapshots, files):
            self._lock.remove(keys)

    def trim_cache(self) -> None:
        """Remove copies that nobody used for a week, once a day."""
        mark = self.cache.root / "trimmed"
        now = time.time()
        with suppress(OSError):
            if mark.exists() and now - mark.stat().st_mtime < _LOOK_SECONDS:
                return
            mark.touch()
            for entry in self.cache.entries():
                if now - entry.stat().st_mtime > _UNUSED_SECONDS:
                    Path(entry.path).unlink(missing_ok=True)

    def forget_copy(self, digest: str) -> None:
        """Have a snapshot taken anew."""
        self.cache.path(digest).unlink(missing_ok=True)

    def _send_alone(self, digest: str) -> None:
        found = self._objects.find(_key(FILES, digest))
        if found is None or time.time() - found.modified_at > _RENEWED_SECONDS:
            self._send(digest)  # which makes it count as new

    def _send(self, digest: str) -> None:
        self._objects.upload(self.cache.path(digest), _key(FILES, digest))

    def _lacking(self, digests: Sequence[str]) -> list[str]:
        """What the store lacks; small ones that it may have count as lacking where it has few.

        Where it has none of the first it is asked for, asking for each costs more than sending it.
        """
        some, others = digests[:_SOME], digests[_SOME:]
        lacking = self._asked_for(some)
        unasked: list[str] = []
        if len(lacking) == len(some):
            unasked = [digest for digest in others if self._has_small_copy(digest)]
            others = sorted(set(others).difference(unasked))
        return [*lacking, *self._asked_for(others), *unasked]

    def _asked_for(self, digests: Sequence[str]) -> list[str]:
        found = self._objects.for_each(
            lambda digest: self._objects.find(_key(FILES, digest)), digests
        )
        return [digest for digest, one in zip(digests, found, strict=True) if one is None]

    def _has_small_copy(self, digest: str) -> bool:
        try:
            return self.cache.path(digest).stat().st_size < _SMALL_BYTES
        except OSError:
            return False

    def _find(self, digest: str) -> ListedObject | None:
        """Where a blob lies; snapshots are few, and asked for last."""
        for place in (FILES, SNAPSHOTS):
            if (found := self._objects.find(_key(place, digest))) is not None:
                return found
        return None

    def _require(self, digest: str) -> ListedObject:
        found = self._find(digest)
        if found is None:
            raise ArtifactError(
                f"blob {digest} is not in the artifact store {self._objects.uri(FILES)} any more; "
                "submit its source directory again"
            )
        return found

    def _fetch(self, found: ListedObject, path: Path) -> None:
        digest = path.name
        draft = path.with_name(f"{digest}.{token_hex(8)}")
        try:
            draft.parent.mkdir(parents=True, exist_ok=True)
            hashed = hashlib.sha256()
            with draft.open("xb") as output:
                for part in self._objects.read_parts(found.key, found.size_bytes):
                    hashed.update(part)
                    output.write(part)
            if hashed.hexdigest() != digest:
                raise ArtifactError(
                    f"blob {self._objects.uri(found.key)} is damaged; delete it, then submit its "
                    "source directory again"
                )
            draft.chmod(0o444)
            draft.replace(path)
        except OSError as error:
            raise ArtifactError(
                f"the copy of a blob cannot be written to {os.fspath(draft)}: {error.strerror}; "
                "make room there, then repeat"
            ) from error
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def _key(place: str, digest: str) -> str:
    return f"{place}/{digest[:2]}/{digest}"


def _name(one: ListedObject) -> str:
    return one.key.rpartition("/")[2]
