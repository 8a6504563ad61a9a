"""Snapshots: what they depend on, and that they come back."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mltrain.errors import ArtifactError, SnapshotError
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.manifest import Manifest
from airflow_mltrain.snapshots.snapshot import restore_snapshot, take_snapshot
from tests.services.processes import run_together
from tests.snapshots.directory_tree import Directory, File, directories, read, write

if TYPE_CHECKING:
    from tests.snapshots.conftest import Take

_REPOSITORY = Path(__file__).parents[2]
_TAKE = """
import sys
from pathlib import Path
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.snapshot import take_snapshot
source, store, indexes = map(Path, sys.argv[1:])
take_snapshot(source, BlobStore(store), index_directory=indexes, max_bytes=10**9)
"""


def _take(folder: Path, source: Path) -> str:
    store = BlobStore(folder / "blobs")
    indexes = folder / "indexes"
    return take_snapshot(source, store, index_directory=indexes, max_bytes=10**9).snapshot_id


def _identify(directory: Directory, *, backwards: bool = False, mtime: int | None = None) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(directory, os.fsencode(folder / "source"), backwards=backwards)
        if mtime is not None:
            for path in (folder / "source").rglob("*"):
                os.utime(path, (mtime, mtime), follow_symlinks=False)
        return _take(folder, folder / "source")


@settings(max_examples=40, deadline=None)
@given(directory=directories, mtime=st.integers(0, 2**31))
def test_neither_times_nor_the_order_of_creation_change_the_id(
    directory: Directory, mtime: int
) -> None:
    # when
    ids = {_identify(directory), _identify(directory, backwards=True, mtime=mtime)}
    # then
    assert len(ids) == 1


@settings(max_examples=60, deadline=None)
@given(one=directories, other=directories)
def test_any_other_difference_changes_the_id(one: Directory, other: Directory) -> None:
    # when
    is_same = _identify(one) == _identify(other)
    # then
    assert is_same == (one.members == other.members)


@settings(max_examples=60, deadline=None)
@given(directory=directories)
def test_every_snapshot_is_laid_out_as_it_was_taken(directory: Directory) -> None:
    with tempfile.TemporaryDirectory() as name:
        # given
        folder = Path(name)
        write(directory, os.fsencode(folder / "source"))
        snapshot_id = _take(folder, folder / "source")
        # when
        restore_snapshot(snapshot_id, BlobStore(folder / "blobs"), folder / "restored")
        # then
        assert read(os.fsencode(folder / "restored")).members == directory.members


def test_a_changed_mode_changes_the_id(take: Take, source: Path) -> None:
    # given
    before = take(source)
    # when
    (source / "train.py").chmod(0o755)
    # then
    assert take(source).snapshot_id != before.snapshot_id


@pytest.mark.parametrize("name", ["train.py", "model"])
def test_a_new_name_changes_the_id_and_stores_nothing(take: Take, source: Path, name: str) -> None:
    # given
    before = take(source)
    # when
    (source / name).rename(source / "renamed")
    after = take(source)
    # then
    assert after.snapshot_id != before.snapshot_id
    assert after.stored_blobs == 0


def test_an_empty_directory_changes_the_id(take: Take, source: Path) -> None:
    # given
    before = take(source)
    # when
    (source / "data").mkdir()
    # then
    assert take(source).snapshot_id != before.snapshot_id


def test_one_changed_file_stores_one_blob(take: Take, source: Path) -> None:
    # given
    take(source)
    # when
    (source / "train.py").write_text("print('changed')\n")
    after = take(source)
    # then
    assert after.stored_blobs == 1


def test_equal_files_are_stored_once_and_counted_each(take: Take, source: Path) -> None:
    # given
    (source / "copy.py").write_bytes((source / "train.py").read_bytes())
    # when
    snapshot = take(source)
    # then
    assert snapshot.stored_blobs == 2
    assert snapshot.size_bytes == 2 * len("print('training')\n") + len("layers = 3\n")


def test_the_manifest_is_stored_under_the_snapshot_id(
    take: Take, source: Path, store: BlobStore
) -> None:
    # when
    snapshot = take(source)
    # then
    assert Manifest.decode(store.read(snapshot.snapshot_id)).entries == tuple(
        sorted(snapshot.manifest.entries, key=lambda entry: entry.path)
    )


def test_a_linked_source_directory_is_the_directory_it_leads_to(
    take: Take, source: Path, tmp_path: Path
) -> None:
    # given
    (tmp_path / "current").symlink_to(source)
    # when
    snapshot = take(tmp_path / "current")
    # then
    assert snapshot.snapshot_id == take(source).snapshot_id


def _take_shared(folder: str) -> str:
    return _take(Path(folder), Path(folder) / "source")


def test_processes_that_take_one_directory_at_once_agree(tmp_path: Path) -> None:
    # given
    members = {b"%d.py" % number: File(os.urandom(40)) for number in range(300)}
    write(Directory({**members}), os.fsencode(tmp_path / "source"))
    # when
    ids = run_together(_take_shared, [str(tmp_path)] * 4)
    # then
    assert len(set(ids)) == 1
    restore_snapshot(ids[0], BlobStore(tmp_path / "blobs"), tmp_path / "restored")
    assert read(os.fsencode(tmp_path / "restored")).members == members
    assert _names_in(tmp_path / "blobs") == {*_digests(members), ids[0]}


@pytest.mark.parametrize("stored", [1, 40, 400])
def test_a_snapshot_that_is_killed_leaves_only_whole_blobs(tmp_path: Path, stored: int) -> None:
    # given
    members = {b"%d.py" % number: File(os.urandom(40)) for number in range(1000)}
    write(Directory({**members}), os.fsencode(tmp_path / "source"))
    folders = [str(tmp_path / name) for name in ("source", "blobs", "indexes")]
    taking = subprocess.Popen([sys.executable, "-c", _TAKE, *folders], cwd=_REPOSITORY)
    # when
    _wait_for_blobs(tmp_path / "blobs", stored)
    taking.send_signal(signal.SIGKILL)
    taking.wait()
    # then
    whole = [path for path in (tmp_path / "blobs").rglob("*") if len(path.name) == 64]
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in whole)
    restore_snapshot(
        _take(tmp_path, tmp_path / "source"), BlobStore(tmp_path / "blobs"), tmp_path / "restored"
    )
    assert read(os.fsencode(tmp_path / "restored")).members == members


def test_a_snapshot_that_nobody_took_cannot_be_restored(store: BlobStore, tmp_path: Path) -> None:
    # when
    with pytest.raises(ArtifactError) as caught:
        restore_snapshot("0" * 64, store, tmp_path / "restored")
    # then
    assert "0" * 64 in str(caught.value)


def test_a_blob_that_is_no_manifest_cannot_be_restored(store: BlobStore, tmp_path: Path) -> None:
    # given
    digest = store.put_bytes(b"weights")
    # when
    with pytest.raises(SnapshotError) as caught:
        restore_snapshot(digest, store, tmp_path / "restored")
    # then
    assert digest in str(caught.value)


def test_a_snapshot_that_lost_a_blob_says_which(
    take: Take, source: Path, store: BlobStore, tmp_path: Path
) -> None:
    # given
    snapshot = take(source)
    lost = hashlib.sha256((source / "train.py").read_bytes()).hexdigest()
    store.path(lost).unlink()
    # when
    with pytest.raises(ArtifactError) as caught:
        restore_snapshot(snapshot.snapshot_id, store, tmp_path / "restored")
    # then
    assert lost in str(caught.value)


def _wait_for_blobs(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(_names_in(folder)) < count:
        assert time.monotonic() < deadline, "no blobs"
        time.sleep(0.001)


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if not path.is_dir()}


def _digests(members: dict[bytes, File]) -> set[str]:
    return {hashlib.sha256(file.content).hexdigest() for file in members.values()}
