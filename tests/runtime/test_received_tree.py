"""Files that arrive from another machine: they are what they were there."""

from __future__ import annotations

import os
import socket
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.runtime.job_agent.delivery import deliver
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.runtime.job_agent.received_tree import ReceivedTree
from airflow_mltrain.targets.local import LocalTarget

_NOBODY = 65534
_MEBIBYTE = 1024 * 1024


@pytest.fixture
def unprivileged_folder() -> Iterator[Path]:
    """Of a user who is bound by permissions; the tests' user may not be."""
    with tempfile.TemporaryDirectory() as name:
        was = os.geteuid()
        user = _NOBODY if was == 0 else was
        os.chown(name, user, -1)
        os.seteuid(user)
        try:
            yield Path(name)
        finally:
            os.seteuid(was)


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """An empty folder."""
    destination = tmp_path / "destination"
    destination.mkdir()
    return destination


def test_what_arrives_is_what_a_job_of_this_machine_leaves(
    unprivileged_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    here, there = unprivileged_folder / "here", unprivileged_folder / "there"
    here.mkdir()
    there.mkdir()
    root = unprivileged_folder / "root"
    folder = _job(root)
    monkeypatch.chdir(folder.outputs)  # the name of a socket has to be short
    _leave_all_sorts(Path(folder.outputs))
    Path(folder.log).write_bytes(b"\0 log\n")

    # when
    from_here = LocalTarget("local", root).fetch("run-1", here)
    from_there = _receive(folder, there)

    # then
    assert _listing(there) == _listing(here)
    assert sorted(from_there) == sorted(from_here)
    assert "outputs/locked" in from_there
    assert (
        there / "outputs" / "deep" / "latest"
    ).resolve() == there / "outputs" / "deep" / "model"


def test_what_a_user_may_not_read_is_left_behind(unprivileged_folder: Path) -> None:
    # given
    folder = _job(unprivileged_folder / "root")
    (Path(folder.outputs) / "locked").touch(0)
    (Path(folder.outputs) / "kept").touch()

    # when
    left_behind = _receive(folder, unprivileged_folder)

    # then
    assert left_behind == ["outputs/locked"]
    assert (unprivileged_folder / "outputs" / "kept").exists()


def test_a_large_sparse_file_arrives_in_bounded_memory(tmp_path: Path, destination: Path) -> None:
    # given
    folder = _job(tmp_path / "root")
    with (Path(folder.outputs) / "sparse").open("wb") as file:
        file.truncate(100 * _MEBIBYTE)
        file.seek(0, os.SEEK_END)
        file.write(b"end")
    parts: list[bytes] = []
    deliver(folder, {}, parts.append)
    tracemalloc.start()

    # when
    ReceivedTree(destination).take(iter(parts))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # then
    arrived = destination / "outputs" / "sparse"
    assert arrived.stat().st_size == 100 * _MEBIBYTE + 3
    assert arrived.stat().st_blocks * 512 < _MEBIBYTE
    assert arrived.read_bytes().strip(b"\0") == b"end"
    assert peak < 4 * _MEBIBYTE


@given(cuts=st.lists(st.integers(0, 3000), max_size=6))
def test_a_transfer_goes_on_wherever_it_was_cut(cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        # given
        folder = _job(Path(name) / "root")
        for number in range(5):
            (Path(folder.outputs) / f"file {number}").write_bytes(bytes([number]) * 200 * number)
        (Path(folder.outputs) / "deep").mkdir()
        (Path(folder.outputs) / "deep" / "link").symlink_to("../file 1")
        here, there = Path(name) / "here", Path(name) / "there"
        here.mkdir()
        there.mkdir()
        LocalTarget("local", Path(name) / "root").fetch("run-1", here)
        tree = ReceivedTree(there)

        # when
        for cut in cuts:
            _take_until(tree, folder, cut)
        left_behind = _take_until(tree, folder, None)
        tree.finish()

        # then
        assert left_behind == []
        assert _listing(there) == _listing(here)


def test_a_transfer_that_goes_on_carries_the_rest_alone(tmp_path: Path, destination: Path) -> None:
    # given
    folder = _job(tmp_path / "root")
    for number in range(4):
        (Path(folder.outputs) / str(number)).write_bytes(os.urandom(10_000))
    tree = ReceivedTree(destination)

    # when
    _take_until(tree, folder, 33_000)
    parts: list[bytes] = []
    deliver(folder, tree.have, parts.append)

    # then
    assert len(b"".join(parts)) < 9_000


def _job(root: Path) -> JobFolder:
    folder = JobFolder(str(root), "run-1")
    Path(folder.outputs).mkdir(parents=True)
    return folder


def _leave_all_sorts(outputs: Path) -> None:
    deep = outputs / "deep"
    (deep / "empty").mkdir(parents=True)
    (deep / "model").write_bytes(os.urandom(700_000))
    (deep / "tool").write_text("run")
    (deep / "tool").chmod(0o755)
    (deep / "latest").symlink_to("model")
    (deep / "up").symlink_to("../deep/empty")
    (deep / "absolute").symlink_to(outputs / "deep" / "tool")
    (outputs / "dangling").symlink_to("nowhere")
    (outputs / "around").symlink_to("around")
    (outputs / "out").symlink_to("/etc/passwd")
    (outputs / "log").symlink_to("../../log")
    (outputs / "itself").symlink_to(".")
    (outputs / os.fsdecode(b"\xff not text")).write_text("kept")
    (outputs / "new\nline").touch()
    (outputs / "twice").hardlink_to(deep / "tool")
    (outputs / "locked").mkdir(0o000)
    os.mkfifo(outputs / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")


def _receive(folder: JobFolder, destination: Path) -> list[str]:
    tree = ReceivedTree(destination)
    left_behind = _take_until(tree, folder, None)
    tree.finish()
    return left_behind


def _take_until(tree: ReceivedTree, folder: JobFolder, cut: int | None) -> list[str]:
    """Deliver to the tree, in pieces, up to so many bytes."""
    parts: list[bytes] = []
    left_behind = deliver(folder, tree.have, parts.append)
    body = b"".join(parts)
    sent = body[:cut]

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(sent), 997):
            yield sent[start : start + 997]
        if len(sent) < len(body):
            raise ConnectionError

    try:
        tree.take(pieces())
    except ConnectionError:
        return ["cut"]
    return left_behind


def _listing(folder: Path) -> dict[str, tuple[object, ...]]:
    """Every path below, with what it is."""
    found: dict[str, tuple[object, ...]] = {}
    for name, folders, files in os.walk(folder):
        for entry in [*folders, *files]:
            path = Path(name) / entry
            if path.is_symlink():
                facts: tuple[object, ...] = ("link", str(path.readlink()))
            elif path.is_dir():
                facts = ("directory",)
            else:
                facts = ("file", path.read_bytes(), path.stat().st_mode & 0o777)
            found[str(path.relative_to(folder))] = facts
    return found
