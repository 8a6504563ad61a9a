"""Blobs as they leave a machine: the stream that `intake.BlobIntake.take` reads."""

import os
from typing import Iterator, List, Mapping, Optional

from .intake import ANEW, BLOB_HEADER
from .wire import PART_BYTES


def in_parts(content: bytes) -> Iterator[bytes]:
    """A body as it is sent."""
    return (content[start : start + PART_BYTES] for start in range(0, len(content), PART_BYTES))


def blob_parts(
    blobs: Mapping[str, "os.PathLike[str]"], begun: Optional[Mapping[str, int]]
) -> Iterator[bytes]:
    """Files by their SHA-256, past what was begun; without `begun` all go from their start."""
    pieces: List[bytes] = []
    gathered = 0
    for digest, path in blobs.items():
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            start = 0 if begun is None else min(begun.get(digest, 0), size)
            os.lseek(descriptor, start, os.SEEK_SET)
            begin = ANEW if begun is None else start
            pieces.append(BLOB_HEADER.pack(bytes.fromhex(digest), begin, size))
            remaining = size - start
            while remaining:
                content = os.read(descriptor, min(remaining, PART_BYTES))
                if not content:
                    raise OSError("{} became shorter while it was read".format(path))
                pieces.append(content)
                gathered += len(content)
                remaining -= len(content)
                if gathered >= PART_BYTES:
                    yield b"".join(pieces)
                    pieces, gathered = [], 0
        finally:
            os.close(descriptor)
    if pieces:
        yield b"".join(pieces)
