"""The preparation of a run before its job begins: what it says, and whether it is still wanted."""

from __future__ import annotations

import time
from typing import Final

from airflow_mltrain.errors import ArtifactError, RunHistoryUnavailableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.workspace import Workspace

_LOOK_SECONDS: Final = 1.0
_HEAD_BYTES: Final = 1 << 20
_TAIL_BYTES: Final = 3 << 20


class Onlooker:
    """Who waits while a run is prepared; this one wants it to go on, and sees nothing."""

    def show(self, words: bytes) -> None:
        """Take what is said, as it comes."""

    def is_interrupted(self) -> bool:
        """Whether to stop; the run may be started again."""
        return False

    def note_shown(self, run_id: str, count: int) -> None:
        """That many bytes of the run's log, its first, were shown."""


NOBODY: Final = Onlooker()


class RunPreparation:
    """Shows what is said as it comes, and keeps it as the beginning of the run's log.

    Given up where the run has ended, or is asked to, where the onlooker had enough, and after
    `limit_seconds`.
    """

    def __init__(
        self,
        workspace: Workspace,
        run_id: str,
        onlooker: Onlooker,
        limit_seconds: float | None,
    ) -> None:
        self._workspace = workspace
        self._run_id = run_id
        self._onlooker = onlooker
        self._limit_seconds = limit_seconds
        self._began = self._looked_at = time.monotonic()
        self._head = bytearray()
        self._tail = bytearray()

    @property
    def log(self) -> bytes:
        """What was said; of very much the middle is left out, which is noted."""
        left_out = b"" if len(self._tail) < _TAIL_BYTES else b"\n[mltrain] ...\n"
        return bytes(self._head) + left_out + bytes(self._tail[-_TAIL_BYTES:])

    @property
    def is_late(self) -> bool:
        """Whether it takes longer than it may."""
        limit = self._limit_seconds
        return limit is not None and time.monotonic() - self._began > limit

    def say(self, words: bytes) -> None:
        """As `Preparation` says."""
        self._onlooker.show(words)
        room = _HEAD_BYTES - len(self._head)
        self._head += words[:room] if room > 0 else b""
        self._tail += words[max(room, 0) :]
        if len(self._tail) > 2 * _TAIL_BYTES:
            del self._tail[:-_TAIL_BYTES]

    def is_given_up(self) -> bool:
        """As `Preparation` says."""
        if self._onlooker.is_interrupted() or self.is_late:
            return True
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return False
        self._looked_at = time.monotonic()
        try:
            status = self._workspace.history.get(self._run_id).status
        except RunHistoryUnavailableError:  # it says nothing of the run
            return False
        return status.is_terminal or status is RunStatus.CANCEL_REQUESTED

    def keep(self) -> None:
        """Keep what was said, if anything was, as the whole log of a run that never began."""
        if not self._head:
            return
        try:
            with self._workspace.artifacts.keep_run(self._run_id) as folder:
                (folder / "log").write_bytes(self.log)
                (folder / "outputs").mkdir()
        except ArtifactError as error:
            self._onlooker.show(f"[mltrain] {error}\n".encode())
