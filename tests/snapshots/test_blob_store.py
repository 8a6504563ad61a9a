"""The blob store: whole or absent, whatever happens."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.snapshots.blob_store import BlobStore

_REPOSITORY = Path(__file__).parents[2]
_LARGE = os.urandom(1 << 20) * 3 + b"end"
_PUT_WITH_LITTLE_ROOM = """
import resource, sys
from pathlib import Path
from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.snapshots.blob_store import BlobStore
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    BlobStore(Path(sys.argv[1])).put_file(Path(sys.argv[2]))
except ArtifactError as error:
    print(error)
"""


def _files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("data", [b"", b"weights", bytes(range(256)), _LARGE])
def test_a_file_comes_back_as_it_was_put(store: BlobStore, tmp_path: Path, data: bytes) -> None:
    # given
    file = tmp_path / "file"
    file.write_bytes(data)
    # when
    digest, size = store.put_file(file)
    # then
    assert (digest, size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert store.read(digest) == data


def test_a_blob_lies_under_its_digest_and_cannot_be_written(store: BlobStore) -> None:
    # when
    digest = store.put_bytes(b"weights")
    # then
    path = store.root / digest[:2] / digest
    assert store.path(digest) == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_a_blob_put_by_a_careful_user_can_be_read_by_others(store: BlobStore) -> None:
    # given
    before = os.umask(0o077)
    # when
    try:
        digest = store.put_bytes(b"weights")
    finally:
        os.umask(before)
    # then
    assert stat.S_IMODE(store.path(digest).stat().st_mode) == 0o444


@pytest.mark.parametrize("data", [b"weights", _LARGE])
def test_a_content_put_twice_is_stored_once(store: BlobStore, tmp_path: Path, data: bytes) -> None:
    # given
    file = tmp_path / "file"
    file.write_bytes(data)
    digest, _ = store.put_file(file)
    inode = store.path(digest).stat().st_ino
    # when
    store.put_file(file)
    # then
    assert [path.stat().st_ino for path in _files_in(store.root)] == [inode]


def test_missing_names_exactly_the_blobs_that_are_not_there(store: BlobStore) -> None:
    # given
    stored = store.put_bytes(b"weights")
    absent = hashlib.sha256(b"other").hexdigest()
    # when
    missing = store.missing([stored, absent])
    # then
    assert missing == {absent}


def test_a_blob_that_is_not_there_is_named_with_its_path(store: BlobStore) -> None:
    # given
    absent = hashlib.sha256(b"other").hexdigest()
    # when
    with pytest.raises(ArtifactError) as caught:
        store.read(absent)
    # then
    assert str(store.path(absent)) in str(caught.value)


def test_a_damaged_blob_is_not_handed_out(store: BlobStore) -> None:
    # given
    digest = store.put_bytes(b"weights")
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"weighty")
    # when
    with pytest.raises(ArtifactError) as caught:
        store.read(digest)
    # then
    assert "damaged" in str(caught.value)


def test_a_blob_that_a_power_failure_cut_short_is_written_again(store: BlobStore) -> None:
    # given
    digest = store.put_bytes(b"weights")
    os.truncate(store.path(digest), 0)
    # when
    store.put_bytes(b"weights")
    # then
    assert store.read(digest) == b"weights"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "ab", "A" * 64])
def test_what_is_no_digest_has_no_path(store: BlobStore, name: str) -> None:
    # when
    with pytest.raises(ArtifactError) as caught:
        store.path(name)
    # then
    assert "digest" in str(caught.value)


@pytest.mark.parametrize("size", [5_000, 3_000_000])
def test_a_store_that_runs_out_of_room_says_so_and_keeps_no_part(
    store: BlobStore, tmp_path: Path, size: int
) -> None:
    # given
    file = tmp_path / "file"
    file.write_bytes(os.urandom(size))
    # when
    ended = subprocess.run(
        [sys.executable, "-c", _PUT_WITH_LITTLE_ROOM, str(store.root), str(file)],
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    # then
    assert f"cannot write {store.root}" in ended.stdout
    assert _files_in(store.root) == []


def test_a_store_that_may_not_be_written_names_the_folder(bound_folder: Path) -> None:
    # given
    folder = bound_folder / "blobs"
    folder.mkdir(mode=0o555)
    # when
    with pytest.raises(ArtifactError) as caught:
        BlobStore(folder).put_bytes(b"weights")
    # then
    assert str(folder) in str(caught.value)
    assert "permission" in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(store: BlobStore, tmp_path: Path) -> None:
    # when
    with pytest.raises(ArtifactError) as caught:
        store.put_file(tmp_path / "nowhere")
    # then
    assert str(tmp_path / "nowhere") in str(caught.value)
