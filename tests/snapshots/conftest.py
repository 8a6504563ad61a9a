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
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def as_nobody(open_folder: Path) -> Iterator[Path]:
    """The open folder, for a user whom permissions bind."""
    if os.geteuid() != 0:
        yield open_folder
        return
    os.seteuid(65534)
    try:
        yield open_folder
    finally:
        os.seteuid(0)
