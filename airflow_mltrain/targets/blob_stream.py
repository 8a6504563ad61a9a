"""Blobs on their way to a machine: only what it lacks, in one stream, resumed where it was cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from airflow_mltrain.runtime.job_agent.intake import LARGE_BYTES
from airflow_mltrain.runtime.job_agent.shipment import blob_parts, in_parts
from airflow_mltrain.targets.agent_session import AgentSession

_DIGEST_BYTES = 32


def ask_missing(session: AgentSession, digests: Iterable[str]) -> set[str]:
    """Which of these blobs the machine lacks."""
    packed = b"".join(bytes.fromhex(digest) for digest in digests)
    _, body = session.ask_for_body("missing", in_parts(packed))
    return read_digests(body)


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
            again = session.ask("upload", blob_parts(self._left, begun))
            if again:
                session.ask("upload", blob_parts({one: self._left[one] for one in again}, None))


def _size(path: Path) -> int:
    return path.stat().st_size
