"""What a store of blobs is, wherever it lies."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol


class ListedBlob(NamedTuple):
    """One blob as an inventory has it, or what was left of one that was being written."""

    name: str
    size_bytes: int
    modified_at: float


class Blobs(Protocol):
    """Bytes by their SHA-256.

    Every call raises ArtifactError where the store does not answer, and leaves nothing
    half-written.
    """

    def put_bytes(self, data: bytes) -> str:
        """Store a blob and return its digest; nothing is written if the store has it."""

    def put_file(self, path: Path) -> tuple[str, int]:
        """Store a file's content, and return its digest and size in bytes."""

    def missing(self, digests: Iterable[str]) -> set[str]:
        """Which of these blobs the store lacks."""

    def path(self, digest: str) -> Path:
        """A file on this machine that has the blob's bytes."""

    def paths(self, digests: Collection[str]) -> dict[str, Path]:
        """The same for many, which are fetched side by side."""

    def read(self, digest: str) -> bytes:
        """The blob's bytes, checked against its digest."""

    def list_blobs(self) -> list[ListedBlob]:
        """Every blob, and every draft of one."""

    def listed_in(self, digests: Collection[str]) -> set[str]:
        """The blobs that any of these lists which is a snapshot; only after `list_blobs`."""

    def remove(self, names: Collection[str]) -> None:
        """Remove what `list_blobs` named.

        Snapshots go first: who finds one takes its files to be there.
        """
