"""Blobs on their way to a machine: only what it lacks, in one stream, resumed where it was cut."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from airflow_mltrain.runtime.job_agent.intake import ANEW, BLOB_HEADER, LARGE_BYTES
from airflow_mltrain.runtime.job_agent.wire import PART_BYTES
from airflow_mltrain.targets.agent_session import AgentSession

_DIGEST_BYTES = 32


def ask_missing(session: AgentSession, digests: Iterable[str]) -> set[str]:
    """Which of these blobs the machine lacks."""
    packed = b"".join(bytes.fromhex(digest) for digest in digests)
    _, body = session.ask_for_body("missing", in_parts(packed))
    return read_digests(body)


def in_parts(content: bytes) -> Iterator[bytes]:
    """A body as it is sent."""
    return (content[start : start + PART_BYTES] for start in range(0, len(content), PART_BYTES))


def read_digests(packed: bytes) -> set[str]:
    """Digests as the agent packs them."""
    return {
        packed[start : start + _DIGEST_BYTES].hex()
        for start in range(0, len(packed), _DIGEST_BYTES)
    }


class BlobTransfer:
    """Files, by their SHA-256, that a machine is to have; `send` until it returns."""

    def __init__(self, blobs: Mapping[str, Path]) -> None:
        self.progress = 0  # bytes that the machine had when `send` began
        self._left = dict(blobs)
        self._bytes = sum(map(_size, blobs.values()))
        self._is_begun = False

    def send(self, session: AgentSession) -> None:
        """Send what is left, which after a cut is less than it was."""
        begun: dict[str, int] = {}
        large = [digest for digest, path in self._left.items() if _size(path) > LARGE_BYTES]
        if self._is_begun:
            missing = ask_missing(session, self._left)
            self._left = {digest: self._left[digest] for digest in missing}
        if large:
            begun = session.ask("begun", digests=large)
        if self._is_begun:
            here = sum(begun.get(digest, 0) for digest in self._left)
            self.progress = self._bytes + here - sum(map(_size, self._left.values()))
        self._is_begun = True
        if self._left:
            again = session.ask("upload", _parts(self._left, begun))
            if again:
                session.ask("upload", _parts({one: self._left[one] for one in again}, None))


def _parts(blobs: Mapping[str, Path], begun: Mapping[str, int] | None) -> Iterator[bytes]:
    """The stream that `intake.BlobIntake.take` reads; without `begun` all goes from its start."""
    pieces: list[bytes] = []
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
                    raise OSError(f"{path} became shorter while it was read")
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


def _size(path: Path) -> int:
    return path.stat().st_size
