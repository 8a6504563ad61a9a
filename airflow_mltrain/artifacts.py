"""The artifact store: snapshots by content, and what each run left behind."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.snapshots.blob_store import BlobStore


class ArtifactStore:
    """A folder with `blobs/`, and for each ended run `runs/<run_id>/` (`log`, `outputs/`)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.blobs = BlobStore(root / "blobs")
        self.snapshot_indexes = root / "snapshot-indexes"

    def run_folder(self, run_id: str) -> Path:
        """Where the run's artifacts lie once it has ended."""
        return self._root / "runs" / run_id

    def outputs_uri(self, run_id: str) -> str:
        """Where the run's outputs lie once it has ended, as a URI."""
        return (self.run_folder(run_id) / "outputs").absolute().as_uri()

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
