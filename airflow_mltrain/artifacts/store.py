"""What an artifact store is, wherever it lies."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from airflow_mltrain.snapshots.blobs import Blobs
from airflow_mltrain.snapshots.snapshot import Snapshot
from airflow_mltrain.snapshots.source_tree import Rules


class KeptFile(NamedTuple):
    """One file of a run; its name is relative to the run's artifacts, with forward slashes."""

    name: str
    size_bytes: int
    is_link: bool = False  # to another file of the run
    sha256: str = ""  # where it is known without reading the file


class KeptRun(Protocol):
    """The artifacts of one ended run, which never change."""

    @property
    def has_outputs(self) -> bool:
        """Whether there is anything in its `outputs/`."""

    def list_files(self) -> list[KeptFile]:
        """Its files by name: `log`, `outputs/...` and `logs/...`."""

    def size(self, name: str) -> int | None:
        """The size of a file in bytes; None where there is no such file."""

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """So many bytes of a file, and no more are fetched; the rest of it without a size."""

    def copy(self, name: str, destination: Path) -> None:
        """Copy a file, whole and as it was kept; OSError where the destination cannot be written.

        Raises ArtifactError where it is not that any more.
        """

    def uri(self, name: str) -> str:
        """Where a file lies."""

    def outputs_folder(self) -> AbstractContextManager[Path]:
        """Its `outputs/` as a folder, with links and modes; not to be changed."""


class ArtifactStore(Protocol):
    """Snapshots by content, and what each run left behind."""

    @property
    def blobs(self) -> Blobs:
        """What snapshots are made of."""

    @property
    def address(self) -> str:
        """Where it lies, for people to read."""

    def connect(self) -> None:
        """Look up the Airflow connection that it needs, if any; the store is not asked."""

    def take_snapshot(
        self, source_directory: Path, *, max_bytes: int, rules: Rules | None = None
    ) -> Snapshot:
        """Store a source directory as it is now; see `snapshots.snapshot.take_snapshot`."""

    def restore_snapshot(self, snapshot_id: str, destination: Path) -> None:
        """Lay out a snapshot in a new directory, or one that an interrupted call left."""

    def used(self) -> AbstractContextManager[None]:
        """Keep what is in the store from being removed, until what refers to it is recorded."""

    def require_used(self) -> None:
        """Raise ArtifactError where this process slept for so long that `used` has kept nothing.

        Who is about to record what refers to the store calls it just before.
        """

    def alone(self, patience_seconds: float) -> AbstractContextManager[bool]:
        """Whether, after so long a wait, nobody is about to refer to what is in the store."""

    def now(self) -> float:
        """The time by the clock that says when a blob was modified."""

    def find_run(self, run_id: str) -> KeptRun | None:
        """What was kept of a run; None before its end, and where it was removed."""

    def keep_run(self, run_id: str) -> AbstractContextManager[Path]:
        """Yield an empty folder that becomes the run's artifacts, whole or not at all.

        Whoever comes second changes nothing. Raises ArtifactError where it cannot be stored.
        """

    def outputs_uri(self, run_id: str) -> str:
        """Where the run's outputs lie once it has ended, as a URI."""

    def run_ids(self) -> list[str]:
        """The runs that something was kept of."""

    def remove_run(self, run_id: str) -> None:
        """Remove what was kept of a run, so that it is there whole or not at all."""

    def remove_drafts(self, modified_before: float) -> None:
        """Remove what killed processes left half-written of runs, as far as it is so old."""
