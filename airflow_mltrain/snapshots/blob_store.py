"""The blob store: bytes by their SHA-256, in a folder."""
# ruff: noqa: PTH103, PTH104, PTH108, PTH110, PTH116, PTH120
# A snapshot passes 10,000 paths through here, where the cost of Path objects would show.

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple

from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.runtime.job_agent.checkout import blobs_of
from airflow_mltrain.snapshots.blobs import ListedBlob

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from typing_extensions import Self

_DIGEST = re.compile("[0-9a-f]{64}")
_MODE = 0o444
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_FRESH_SECONDS = 3600.0
_MANIFEST_START = b'{"version"'
_BUFFER_BYTES = 1 << 20  # what is smaller is read in one piece


class StoredBlob(NamedTuple):
    """What became of a content that was put."""

    digest: str
    size: int
    is_new: bool


class BlobStore:
    """Blobs at `<root>/<first two digits>/<digest>`, read-only, each whole or absent.

    Any number of processes may write at once and be killed at any line. Every call raises
    ArtifactError where the folder cannot be read or written, and leaves nothing half-written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = os.fspath(root)

    def put_bytes(self, data: bytes) -> str:
        """Store a blob and return its digest; nothing is written if the store has it."""
        return self._put(data).digest

    def put_file(self, path: Path) -> tuple[str, int]:
        """Store a file's content, read once, and return its digest and size in bytes."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                blob = self.put_descriptor(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ArtifactError(
                f"{path} cannot be stored: {error.strerror}; make it a file that this user may "
                "read, then repeat"
            ) from error
        return blob.digest, blob.size

    def put_descriptor(self, descriptor: int) -> StoredBlob:
        """Store what is left to read of an open file, read once; OSError is the reading's."""
        expected = os.fstat(descriptor).st_size + 1
        start = b""
        while more := os.read(descriptor, min(expected, _BUFFER_BYTES)):
            start += more
            if len(start) >= _BUFFER_BYTES:
                return self._put_stream(start, descriptor)
        return self._put(start)

    def missing(self, digests: Iterable[str]) -> set[str]:
        """Which of these blobs the store lacks."""
        return {digest for digest in digests if not os.path.exists(self._locate(digest))}

    def renew(self, digest: str) -> bool:
        """Whether the store has this blob, which then counts as new: it will be referred to."""
        return _renew(self._locate(digest)) is not None

    def entries(self) -> Iterator[os.DirEntry[str]]:
        """Every file of the store: blobs, and drafts that are being written or were left."""
        try:
            with os.scandir(self._root) as folders:
                names = [entry.path for entry in folders if entry.is_dir(follow_symlinks=False)]
                yield from _files_in(self._root)
        except FileNotFoundError:
            return
        for name in names:
            yield from _files_in(name)

    def path(self, digest: str) -> Path:
        """Where this blob lies, or would."""
        if not _DIGEST.fullmatch(digest):
            raise ArtifactError(f"{digest!r} names no blob: a digest has 64 hexadecimal digits")
        return Path(self._locate(digest))

    def paths(self, digests: Collection[str]) -> dict[str, Path]:
        """The same for many."""
        return {digest: self.path(digest) for digest in digests}

    def list_blobs(self) -> list[ListedBlob]:
        """Every blob, and every draft of one."""
        found = []
        for entry in self.entries():
            with suppress(FileNotFoundError):
                status = entry.stat()
                found.append(ListedBlob(entry.name, status.st_size, status.st_mtime))
        return found

    def listed_in(self, digests: Collection[str]) -> set[str]:
        """The blobs that any of these lists which is a snapshot."""
        found: set[str] = set()
        for path in (Path(self._locate(digest)) for digest in digests):
            if _is_snapshot(path):
                with suppress(ValueError):
                    found.update(blobs_of(path.read_bytes()))
        return found

    def remove(self, names: Collection[str]) -> None:
        """Remove what `list_blobs` named, snapshots first; OSError where one cannot be."""
        drafts = {name for name in names if not _DIGEST.fullmatch(name)}
        paths = [Path(entry.path) for entry in self.entries() if entry.name in drafts]
        paths += [Path(self._locate(name)) for name in names if name not in drafts]
        paths.sort(key=_is_snapshot, reverse=True)  # who finds one takes its files to be there
        for path in paths:
            path.unlink()

    def read(self, digest: str) -> bytes:
        """The blob's bytes, checked against its digest."""
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ArtifactError(
                f"blob {path} cannot be read: {error.strerror}; restore it from a backup, or "
                "submit its source directory again"
            ) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise ArtifactError(
                f"blob {path} is damaged; delete it, then submit its source directory again"
            )
        return data

    def _put(self, data: bytes) -> StoredBlob:
        digest = hashlib.sha256(data).hexdigest()
        final = self._locate(digest)
        is_new = not _has_size(final, len(data))
        if is_new:
            with _Draft(final) as draft:
                draft.write(data)
                draft.commit(final)
        return StoredBlob(digest, len(data), is_new)

    def _put_stream(self, start: bytes, source: int) -> StoredBlob:
        hashed = hashlib.sha256()
        size = 0
        chunk = start
        with _Draft(f"{self._root}/stream") as draft:
            while chunk:
                hashed.update(chunk)
                size += len(chunk)
                draft.write(chunk)
                chunk = os.read(source, _BUFFER_BYTES)
            digest = hashed.hexdigest()
            final = self._locate(digest)
            is_new = not _has_size(final, size)
            if is_new:
                draft.commit(final)
        return StoredBlob(digest, size, is_new)

    def _locate(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest}"


class _Draft:
    """A blob being written beside its place, gone at the end unless it was committed."""

    def __init__(self, beside: str) -> None:
        self._path = f"{beside}.{token_hex(8)}"
        self._descriptor = -1
        self._is_committed = False

    def __enter__(self) -> Self:
        try:
            try:
                self._descriptor = os.open(self._path, _CREATE, _MODE)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(self._path), exist_ok=True)
                self._descriptor = os.open(self._path, _CREATE, _MODE)
            os.fchmod(self._descriptor, _MODE)  # the umask may have taken bits
        except OSError as error:
            self.__exit__()
            raise _unwritable(self._path, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            if not self._is_committed:
                with suppress(OSError):
                    os.unlink(self._path)

    def write(self, data: bytes) -> None:
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, memoryview(data)[written:])
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def commit(self, final: str) -> None:
        try:
            try:
                os.rename(self._path, final)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(final), exist_ok=True)
                os.rename(self._path, final)
        except OSError as error:
            raise _unwritable(final, error) from error
        self._is_committed = True


def _has_size(path: str, size: int) -> bool:
    """Whether the blob is there; a power failure can leave one short, which is written again."""
    return _renew(path) == size


def _renew(path: str) -> int | None:
    """The size of a file that is used again, whose age begins anew; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if time.time() - found.st_mtime > _FRESH_SECONDS:
        with suppress(OSError):  # it is another user's, in a store that several share
            os.utime(path)
    return found.st_size


def _is_snapshot(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MANIFEST_START)) == _MANIFEST_START


def _files_in(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if entry.is_file(follow_symlinks=False))


def _unwritable(path: str, error: OSError) -> ArtifactError:
    return ArtifactError(
        f"the artifact store cannot write {path}: {error.strerror}; make room or give this user "
        "permission there, then repeat"
    )
