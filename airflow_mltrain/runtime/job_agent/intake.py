"""Blobs as they arrive over a stream: stored by content, whole or not at all, resumed if cut."""

import errno
import fcntl
import itertools
import os
import struct
from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Set

if TYPE_CHECKING:
    from hashlib import _Hash

BLOB_HEADER = struct.Struct(">32sQQ")  # sha256, where its bytes begin, size of the whole blob
LARGE_BYTES = 1024 * 1024  # what is larger is resumed where it was cut
ANEW = 2**64 - 1  # for where it begins: from its start, whatever others do
_CHUNK_BYTES = 256 * 1024
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class BlobIntake:
    """The folder `<root>/blobs`, and `partial/` in it for what has not arrived whole."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._partial = os.path.join(folder, "partial")
        self._made: Set[str] = set()
        self._draft_name = os.urandom(8).hex()
        self._draft_numbers = itertools.count()

    def begun(self, digests: List[str]) -> Dict[str, int]:
        """How many bytes of these blobs are here already, from transfers that were cut."""
        found = {}
        for digest in digests:
            try:
                size = os.stat(self._partial_name(digest)).st_size
            except FileNotFoundError:
                continue
            found[digest] = size
        return found

    def take(self, parts: Iterator[bytes]) -> List[str]:
        """Store the blobs of a stream; OSError where one arrived damaged or cannot be written.

        Returns those that have to be sent from their start (`ANEW`), as somebody else is storing
        them or what was begun is gone.
        """
        body = _Body(parts)
        again = []
        while not body.is_at_end():
            raw, begin, size = BLOB_HEADER.unpack(body.read(BLOB_HEADER.size))
            digest = raw.hex()
            if size <= LARGE_BYTES:
                self._store_small(digest, body.read(size))
            elif begin == ANEW:
                self._store(digest, body, size)
            elif not self._resume(digest, body, begin, size):
                again.append(digest)
        return again

    def _store_small(self, digest: str, content: bytes) -> None:
        # There may be ten thousand of them: every call counts.
        found = _sha256(content).hexdigest()
        draft = self._new_draft()
        descriptor = os.open(draft, _CREATE, 0o600)
        try:
            try:
                written = os.write(descriptor, content)
                if written < len(content):
                    _write_all(descriptor, memoryview(content)[written:])
            finally:
                os.close(descriptor)
            self._finish(digest, found, draft)
        except OSError:
            os.unlink(draft)
            raise

    def _store(self, digest: str, body: "_Body", size: int) -> None:
        draft = self._new_draft()
        descriptor = os.open(draft, _CREATE, 0o600)
        try:
            try:
                found = _sha256()
                body.pour(size, found.update, lambda chunk: _write_all(descriptor, chunk))
            finally:
                os.close(descriptor)
            self._finish(digest, found.hexdigest(), draft)
        except OSError:
            os.unlink(draft)
            raise

    def _resume(self, digest: str, body: "_Body", begin: int, size: int) -> bool:
        """Go on with what was begun; False, and all of it read, where that is impossible."""
        if begin > size:
            raise OSError("blob {} begins behind its end".format(digest))
        self._make(self._partial)
        name = self._partial_name(digest)
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            here = os.fstat(descriptor).st_size
            is_ours = here >= begin and _is_still_there(descriptor, name)
            if not is_ours and here == 0 and _is_still_there(descriptor, name):
                os.unlink(name)  # what was begun has been finished, and this call made it anew
        except BlockingIOError:
            is_ours = False
        try:
            if not is_ours:
                body.pour(size - begin)
                return False
            os.ftruncate(descriptor, begin)
            found = _sha256()
            for position in range(0, begin, _CHUNK_BYTES):
                found.update(os.pread(descriptor, min(_CHUNK_BYTES, begin - position), position))
            os.lseek(descriptor, begin, os.SEEK_SET)
            body.pour(size - begin, found.update, lambda chunk: _write_all(descriptor, chunk))
            if found.hexdigest() != digest:
                os.unlink(name)
                if begin:  # what a power cut left may have holes
                    return False
            self._finish(digest, found.hexdigest(), name)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                os.unlink(name)  # others need the room more than a repetition needs the bytes
            raise
        finally:
            os.close(descriptor)
        return True

    def _finish(self, digest: str, found: str, draft: str) -> None:
        if found != digest:
            raise OSError("blob {} arrived damaged".format(digest))
        folder = "{}/{}".format(self._folder, digest[:2])
        self._make(folder)
        os.replace(draft, "{}/{}".format(folder, digest))

    def _new_draft(self) -> str:
        self._make(self._partial)
        return "{}/{}-{}".format(self._partial, self._draft_name, next(self._draft_numbers))

    def _make(self, folder: str) -> None:
        if folder not in self._made:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._made.add(folder)

    def _partial_name(self, name: str) -> str:
        return os.path.join(self._partial, name)


class _Body:
    """Reads so many bytes at a time of what arrives in pieces of any size."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._piece = memoryview(b"")

    def is_at_end(self) -> bool:
        """Whether all was read."""
        while not self._piece:
            piece = next(self._parts, None)
            if piece is None:
                return True
            self._piece = memoryview(piece)
        return False

    def read(self, count: int) -> bytes:
        """So many bytes; OSError where there are fewer."""
        pieces: List[bytes] = []
        self.pour(count, lambda chunk: pieces.append(bytes(chunk)))
        return b"".join(pieces)

    def pour(self, count: int, *sinks: Callable[[memoryview], object]) -> None:
        """Give so many bytes to each of the sinks; OSError where there are fewer."""
        while count:
            if self.is_at_end():
                raise OSError("the transfer was cut")
            chunk = self._piece[:count]
            for sink in sinks:
                sink(chunk)
            self._piece = self._piece[len(chunk) :]
            count -= len(chunk)


def _sha256(content: bytes = b"") -> "_Hash":
    import hashlib  # noqa: PLC0415  # dear at start-up, and not needed where nothing is new

    return hashlib.sha256(content)


def _is_still_there(descriptor: int, path: str) -> bool:
    """Whether the file under that name is the open one: who finished first has renamed it."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    own = os.fstat(descriptor)
    return (own.st_ino, own.st_dev) == (there.st_ino, there.st_dev)


def _write_all(descriptor: int, content: memoryview) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
