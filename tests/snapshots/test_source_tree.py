"""Source directories that no snapshot can hold."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.errors import SnapshotError
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.snapshot import take_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from tests.snapshots.conftest import Take


_KEEP_WRITING = """
import sys
with open(sys.argv[1], "ab", buffering=0) as file:
    print("writing", flush=True)
    while True:
        file.write(b"x")
"""


def _refuse(take: Take, source: Path, max_bytes: int = 10_000_000) -> str:
    with pytest.raises(SnapshotError) as caught:
        take(source, max_bytes)
    return str(caught.value)


def test_a_directory_that_does_not_exist_is_named(take: Take, source: Path) -> None:
    # when
    message = _refuse(take, source / "nowhere")
    # then
    assert f"{source / 'nowhere'} does not exist" in message


def test_a_file_is_no_source_directory(take: Take, source: Path) -> None:
    # when
    message = _refuse(take, source / "train.py")
    # then
    assert f"{source / 'train.py'} is not a directory" in message


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "..", "../other", "model/../../other", "up/../..", "far/.."]
)
def test_a_link_that_leads_outside_is_refused(take: Take, source: Path, target: str) -> None:
    # given
    (source / "up").symlink_to("model")
    (source / "model" / "deep").mkdir()
    (source / "model" / "deep" / "root").symlink_to("../..")
    (source / "far").symlink_to("model/deep/root")
    (source / "leak").symlink_to(target)
    # when
    message = _refuse(take, source)
    # then
    assert f"leak -> {target}" in message
    assert ".amlignore" in message


@pytest.mark.parametrize(
    "target", ["train.py", "model/net.py", "nowhere", ".", "model/..", "link", "up/deep"]
)
def test_a_link_that_stays_inside_is_kept_as_a_link(take: Take, source: Path, target: str) -> None:
    # given
    (source / "up").symlink_to("model")
    (source / "link").symlink_to(target)
    # when
    snapshot = take(source)
    # then
    assert ("link", "link", target) in [
        (entry.kind, entry.path, entry.target) for entry in snapshot.manifest.entries
    ]


def test_an_ignored_link_may_lead_anywhere(take: Take, source: Path) -> None:
    # given
    (source / "data").symlink_to("/")
    (source / ".amlignore").write_text("data\n.amlignore\n")
    # when
    snapshot = take(source)
    # then
    assert {entry.path for entry in snapshot.manifest.entries} == {
        *("train.py", "model", "model/net.py")
    }


def test_a_pipe_is_refused_without_waiting_for_its_writer(take: Take, source: Path) -> None:
    # given
    os.mkfifo(source / "pipe")
    # when
    message = _refuse(take, source)
    # then
    assert f"{source / 'pipe'} is a socket, a pipe or a device" in message


def test_a_socket_is_refused(take: Take, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    monkeypatch.chdir(source)  # a socket's address must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        # when
        message = _refuse(take, source)
    # then
    assert f"{source / 'socket'} is a socket, a pipe or a device" in message


@pytest.mark.parametrize("name", ["secret.txt", "secrets"])
def test_what_this_user_may_not_read_is_named_with_a_remedy(bound_folder: Path, name: str) -> None:
    # given
    source = bound_folder / "project"
    source.mkdir()
    (source / "secret.txt").touch(mode=0o000)
    (source / "secrets").mkdir(mode=0o000)
    (source / ".amlignore").write_text(f"secret*\n!{name}\n")
    store = BlobStore(bound_folder / "blobs")
    # when
    with pytest.raises(SnapshotError) as caught:
        take_snapshot(source, store, index_directory=bound_folder / "indexes", max_bytes=1000)
    # then
    assert f"{source / name} cannot be read: Permission denied" in str(caught.value)
    assert ".amlignore" in str(caught.value)


def test_too_much_is_refused_before_anything_is_stored(
    take: Take, source: Path, tmp_path: Path
) -> None:
    # given
    sizes = {f"weights-{number}": 1000 * number for number in range(1, 8)}
    for name, size in sizes.items():
        (source / name).write_bytes(b"x" * size)
    # when
    with pytest.raises(SnapshotError) as caught:
        take(source, max_bytes=20_000)
    # then
    message = str(caught.value)
    assert re.findall(r"weights-\d", message) == [f"weights-{number}" for number in "76543"]
    assert "28,029 bytes" in message
    assert "20,000 bytes" in message
    assert ".amlignore" in message
    assert not (tmp_path / "blobs").exists()


def test_what_is_ignored_does_not_count_towards_the_limit(take: Take, source: Path) -> None:
    # given
    (source / "weights").write_bytes(b"x" * 30_000)
    (source / ".amlignore").write_text("weights\n")
    # when
    snapshot = take(source, max_bytes=20_000)
    # then
    assert snapshot.size_bytes < 100


def test_the_artifact_store_does_not_swallow_itself(source: Path) -> None:
    # given
    store = BlobStore(source / "artifacts")
    store.put_bytes(b"weights")
    # when
    with pytest.raises(SnapshotError) as caught:
        take_snapshot(source, store, index_directory=source / "indexes", max_bytes=1000)
    # then
    assert str(source / "artifacts") in str(caught.value)


def test_a_file_that_never_holds_still_is_refused(take: Take, source: Path) -> None:
    # given
    growing = source / "growing.log"
    growing.touch()
    os.truncate(growing, 50_000_000)
    with subprocess.Popen(
        [sys.executable, "-c", _KEEP_WRITING, growing], stdout=subprocess.PIPE
    ) as writing:
        assert writing.stdout is not None
        writing.stdout.readline()
        # when
        try:
            message = _refuse(take, source, max_bytes=10**10)
        finally:
            writing.kill()
    # then
    assert f"{growing} changed or vanished while the snapshot was taken" in message


def test_names_that_are_no_text_can_be_printed(take: Take, source: Path) -> None:
    # given
    os.mkfifo(os.fsencode(source) + b"/\xff")
    # when
    message = _refuse(take, source)
    # then
    assert "/\\xff is a socket" in message
