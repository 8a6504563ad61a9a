"""The index: unchanged files are not read, and nothing else is missed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.snapshots.index import Index

if TYPE_CHECKING:
    from airflow_mltrain.snapshots.blob_store import BlobStore
    from airflow_mltrain.snapshots.snapshot import Snapshot
    from tests.snapshots.conftest import Take

_SIZE = 2_000_000
_INSTANT_NS = 1_800_000_000_000_000_000


@pytest.fixture
def indexed(take: Take, source: Path) -> Path:
    """A project whose large file is known to the index."""
    (source / "weights").write_bytes(os.urandom(_SIZE))
    deadline = time.monotonic() + 10
    while _take_and_count(take, source)[1] >= _SIZE:
        assert time.monotonic() < deadline, "the index never trusts the file"
    return source


@pytest.mark.parametrize("attempt", range(10))
def test_an_edit_within_one_tick_of_the_clock_is_noticed(
    take: Take, source: Path, attempt: int
) -> None:
    # given
    weights = source / f"weights-{attempt}"
    weights.write_bytes(b"aaaa")
    times = weights.stat()
    before = take(source)
    # when
    weights.write_bytes(b"bbbb")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    # then
    assert take(source).snapshot_id != before.snapshot_id


def test_an_edit_that_keeps_size_and_mtime_is_noticed(take: Take, indexed: Path) -> None:
    # given
    weights = indexed / "weights"
    times = weights.stat()
    before = take(indexed)
    # when
    weights.write_bytes(os.urandom(_SIZE))
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    # then
    assert take(indexed).snapshot_id != before.snapshot_id


def test_a_blob_that_was_pruned_is_stored_again(
    take: Take, indexed: Path, store: BlobStore
) -> None:
    # given
    before = take(indexed)
    for path in (path for path in store.root.rglob("*") if path.is_file()):
        path.unlink()
    # when
    after = take(indexed)
    # then
    assert after.snapshot_id == before.snapshot_id
    assert after.stored_blobs == 3
    assert not store.missing(entry.sha256 for entry in after.manifest.entries if entry.sha256)


@pytest.mark.parametrize("content", [b"", b"garbage\xff", b"{}\n{}"])
def test_a_damaged_index_only_costs_time(
    take: Take, indexed: Path, tmp_path: Path, content: bytes
) -> None:
    # given
    before = take(indexed)
    for index in (tmp_path / "indexes").iterdir():
        index.write_bytes(content)
    # when
    after, bytes_read = _take_and_count(take, indexed)
    # then
    assert after == before
    assert bytes_read >= _SIZE


def test_an_index_whose_end_was_altered_is_not_trusted(
    take: Take, indexed: Path, tmp_path: Path
) -> None:
    # given
    (index,) = (tmp_path / "indexes").iterdir()
    index.write_bytes(index.read_bytes().replace(b'"weights"', b'"weighty"'))
    # when
    _, bytes_read = _take_and_count(take, indexed)
    # then
    assert bytes_read >= _SIZE


def test_the_index_of_another_directory_is_not_trusted(
    take: Take, indexed: Path, tmp_path: Path
) -> None:
    # given
    (foreign,) = (tmp_path / "indexes").iterdir()
    other = tmp_path / "other"
    indexed.rename(other)
    before = take(other)
    (own,) = set((tmp_path / "indexes").iterdir()) - {foreign}
    own.write_bytes(foreign.read_bytes())
    # when
    after, bytes_read = _take_and_count(take, other)
    # then
    assert after.snapshot_id == before.snapshot_id
    assert bytes_read >= _SIZE


def test_an_index_that_cannot_be_written_does_not_fail_the_snapshot(
    take: Take, source: Path, tmp_path: Path
) -> None:
    # given
    (tmp_path / "indexes").write_text("a file in the way")
    # when
    snapshot = take(source)
    # then
    assert snapshot.stored_blobs == 2


@pytest.mark.parametrize(
    ("changed_ns", "rest_milliseconds", "is_known"),
    [
        (_INSTANT_NS + 1, 19, False),
        (_INSTANT_NS + 1, 21, True),
        (_INSTANT_NS, 1999, False),  # whole milliseconds: the file system may know no finer ones
        (_INSTANT_NS, 2001, True),
    ],
)
def test_a_file_is_known_once_it_had_rested_before_it_was_read(
    tmp_path: Path, changed_ns: int, rest_milliseconds: int, *, is_known: bool
) -> None:
    # given
    times = {"st_mtime_ns": changed_ns - 10**12, "st_ctime_ns": changed_ns}
    status = os.stat_result((0o644, 7, 1, 1, 0, 0, 12, 0, 0, 0), times)
    index = Index(tmp_path, b"/project")
    # when
    index.record("train.py", status, "digest", changed_ns + rest_milliseconds * 1_000_000)
    index.save()
    # then
    found = Index(tmp_path, b"/project").find("train.py", status)
    assert found == ("digest" if is_known else None)


def _take_and_count(take: Take, source: Path) -> tuple[Snapshot, int]:
    """A snapshot, and how many bytes this process read to take it."""
    before = _bytes_read()
    snapshot = take(source)
    return snapshot, _bytes_read() - before


def _bytes_read() -> int:
    first = Path("/proc/self/io").read_text().splitlines()[0]
    return int(first.removeprefix("rchar: "))
