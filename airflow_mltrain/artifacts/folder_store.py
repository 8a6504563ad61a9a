"""The artifact store in a folder of this machine, or of a disk that machines share."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_mltrain.artifacts.draft import filled, remove_older, remove_whole
from airflow_mltrain.artifacts.folder_run import FolderRun
from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.runtime.job_agent import file_lock
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.snapshot import Snapshot, restore_snapshot, take_snapshot
from airflow_mltrain.snapshots.source_tree import Rules


class FolderStore:
    """A folder with `blobs/`, and for each ended run `runs/<run_id>/` (`log`, `outputs/`).

    What its methods promise is said by `store.ArtifactStore`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.blobs = BlobStore(root / "blobs")
        self.snapshot_indexes = root / "snapshot-indexes"

    @property
    def address(self) -> str:
        """Where it lies, for people to read."""
        return str(self._root)

    def connect(self) -> None:
        """Nothing: a folder needs no connection."""

    def take_snapshot(
        self, source_directory: Path, *, max_bytes: int, rules: Rules | None = None
    ) -> Snapshot:
        """Store a source directory as it is now."""
        return take_snapshot(
            source_directory,
            self.blobs,
            index_directory=self.snapshot_indexes,
            max_bytes=max_bytes,
            rules=rules,
        )

    def restore_snapshot(self, snapshot_id: str, destination: Path) -> None:
        """Lay out a snapshot."""
        restore_snapshot(snapshot_id, self.blobs, destination)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep what is in the store from being removed, until what refers to it is recorded."""
        with file_lock.shared(self._lock()):
            yield

    def require_used(self) -> None:
        """Nothing: a lock of a file lasts as long as the process."""

    @contextmanager
    def alone(self, patience_seconds: float) -> Iterator[bool]:
        """Whether, after so long a wait, nobody is about to refer to what is in the store."""
        with file_lock.exclusive(self._lock(), patience_seconds) as is_alone:
            yield is_alone

    def now(self) -> float:
        """The time by the clock that says when a blob was modified."""
        return time.time()

    def run_folders(self) -> list[Path]:
        """Where the artifacts of runs lie, and those that were left half-written."""
        try:
            return sorted((self._root / "runs").iterdir())
        except FileNotFoundError:
            return []

    def run_folder(self, run_id: str) -> Path:
        """Where the run's artifacts lie once it has ended."""
        return self._root / "runs" / run_id

    def find_run(self, run_id: str) -> FolderRun | None:
        """What was kept of a run."""
        folder = self.run_folder(run_id)
        return FolderRun(folder) if folder.exists() else None

    def outputs_uri(self, run_id: str) -> str:
        """Where the run's outputs lie once it has ended, as a URI."""
        return (self.run_folder(run_id) / "outputs").absolute().as_uri()

    def _lock(self) -> str:
        path = self._root / "lock"
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.touch(mode=0o644)  # another user of the store can at least open it
        except OSError as error:
            raise ArtifactError(
                f"the artifact store cannot write {path}: {error.strerror}; make room or give "
                "this user permission there, then repeat"
            ) from error
        return str(path)

    @contextmanager
    def keep_run(self, run_id: str) -> Iterator[Path]:
        """Yield an empty folder that becomes the run's artifacts, whole or not at all."""
        kept = self.run_folder(run_id)
        draft = kept.with_name(f".{run_id}.{uuid.uuid4().hex}")
        try:
            with filled(draft):
                yield draft
            if not kept.exists():
                draft.rename(kept)
        except OSError as error:
            if not kept.exists():
                raise ArtifactError(
                    f"the artifacts of run {run_id} could not be stored in {kept}: {error}; its "
                    "target still has them: mend the cause, then wait for the run again"
                ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def run_ids(self) -> list[str]:
        """The runs that something was kept of."""
        return [folder.name for folder in self.run_folders() if not folder.name.startswith(".")]

    def remove_run(self, run_id: str) -> None:
        """Remove what was kept of a run, so that it is there whole or not at all."""
        remove_whole(self.run_folder(run_id))

    def remove_drafts(self, modified_before: float) -> None:
        """Remove what killed processes left half-written of runs, as far as it is so old."""
        for folder in self.run_folders():
            if folder.name.startswith("."):
                remove_older(folder, modified_before)
