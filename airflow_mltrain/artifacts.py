"""The artifact store: snapshots by content, and what each run left behind."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.runtime.job_agent import file_lock
from airflow_mltrain.snapshots.blob_store import BlobStore


class ArtifactStore:
    """A folder with `blobs/`, and for each ended run `runs/<run_id>/` (`log`, `outputs/`)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.blobs = BlobStore(root / "blobs")
        self.snapshot_indexes = root / "snapshot-indexes"

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep what is in the store from being removed, until what refers to it is recorded."""
        with file_lock.shared(self._lock()):
            yield

    @contextmanager
    def alone(self, patience_seconds: float) -> Iterator[bool]:
        """Whether, after so long a wait, nobody is about to refer to what is in the store."""
        with file_lock.exclusive(self._lock(), patience_seconds) as is_alone:
            yield is_alone

    def run_folders(self) -> list[Path]:
        """Where the artifacts of runs lie, and those that were left half-written."""
        try:
            return sorted((self._root / "runs").iterdir())
        except FileNotFoundError:
            return []

    def run_folder(self, run_id: str) -> Path:
        """Where the run's artifacts lie once it has ended."""
        return self._root / "runs" / run_id

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
        """Yield an empty folder that becomes the run's artifacts, whole or not at all.

        Whoever comes second changes nothing. Raises ArtifactError where it cannot be written.
        """
        kept = self.run_folder(run_id)
        draft = kept.with_name(f".{run_id}.{uuid.uuid4().hex}")
        try:
            draft.mkdir(parents=True, mode=0o700)
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
