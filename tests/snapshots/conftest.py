"""A store, and a short way to take a snapshot into it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.snapshot import Snapshot, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOBODY = 65534


class Take(Protocol):
    def __call__(self, source: Path, max_bytes: int = ...) -> Snapshot: ...


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def take(tmp_path: Path, store: BlobStore) -> Take:
    def take_into_store(source: Path, max_bytes: int = 10_000_000) -> Snapshot:
        indexes = tmp_path / "indexes"
        return take_snapshot(source, store, index_directory=indexes, max_bytes=max_bytes)

    return take_into_store


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small project."""
    project = tmp_path / "project"
    (project / "model").mkdir(parents=True)
    (project / "train.py").write_text("print('training')\n")
    (project / "model" / "net.py").write_text("layers = 3\n")
    return project


@pytest.fixture
def bound_folder() -> Iterator[Path]:
    """A folder, in a test that runs as a user whom permissions bind."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        user = os.geteuid()
        os.seteuid(user or _NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(user)
