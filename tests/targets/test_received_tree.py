"""Files that arrive from a machine which is not trusted: kept as they were, and nowhere else."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.errors import TargetError
from airflow_mltrain.runtime.job_agent.delivery import ENTRY_LENGTH, deliver
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.targets.local import LocalTarget
from airflow_mltrain.targets.received_tree import ReceivedTree

_NOBODY = 65534
_MEBIBYTE = 1024 * 1024
_names = st.sampled_from(
    ["outputs", "logs", "log", "a", "b", "c", "..", ".", "", "/etc", "x\0y", "\ud800", "n" * 300]
)
_paths = st.lists(_names, min_size=1, max_size=5).map("/".join) | st.sampled_from(
    ["outputs", "outputs/a", "outputs/a/b", "outputs/b", "logs", "log"]
)
_targets = st.lists(st.sampled_from(["..", "a", "b", "c", "outputs", "."]), max_size=6).map(
    "/".join
) | st.sampled_from(["/etc/passwd", "../../secret", "a/../../../secret", "\0"])
_odd_numbers: list[Any] = [2**40, 2**70, 1e999, -1e999, None, "3", [], True]
_numbers = st.integers(-2, 5) | st.sampled_from(_odd_numbers)
_entries = st.fixed_dictionaries(
    {
        "path": _paths | st.none() | st.lists(_paths, max_size=1),
        "kind": st.sampled_from(["directory", "directory", "file", "link", "device", None]),
    },
    optional={"mode": _numbers, "size": _numbers, "begin": _numbers, "target": _targets},
)
_streams = st.lists(st.tuples(_entries, st.binary(max_size=4)), max_size=10)


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
    """An empty folder, deep enough that a way out of it leads to one of the test's."""
    destination = tmp_path / "above" / "destination"
    destination.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
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


@given(stream=_streams, cut=st.integers(1, 50))
def test_whatever_a_machine_sends_nothing_is_written_or_reached_outside(
    stream: list[tuple[dict[str, Any], bytes]], cut: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        # given
        above = Path(name).resolve() / "above"
        destination = above / "destination"
        destination.mkdir(parents=True)
        (above / "secret").write_text("secret")
        sent = b"".join(_encoded(entry) + content for entry, content in stream)
        tree = ReceivedTree(destination)

        # when
        try:
            tree.take(iter([sent[start : start + cut] for start in range(0, len(sent), cut)]))
        except (TargetError, OSError) as error:
            words = str(error)
        else:
            words = "cannot be"
        tree.finish()

        # then
        assert "cannot be" in words or "File name too long" in words
        assert {path.name for path in above.iterdir()} == {"destination", "secret"}
        assert (above / "secret").read_text() == "secret"
        assert {path.name for path in destination.iterdir()} <= {"outputs", "logs", "log"}
        assert [path for path in destination.rglob("*") if _leads_out(path, destination)] == []


@pytest.mark.parametrize(
    "entries",
    [
        [{"path": "../secret", "kind": "file", "size": 0, "begin": 0, "mode": 0o644}],
        [{"path": "/tmp/secret", "kind": "file", "size": 0, "begin": 0, "mode": 0o644}],  # noqa: S108
        [{"path": "outputs/../../secret", "kind": "directory", "mode": 0o755}],
        [{"path": "job.json", "kind": "directory", "mode": 0o755}],
        [{"path": "outputs/a", "kind": "directory", "mode": 0o755}],
        [
            {"path": "outputs", "kind": "link", "mode": 0o777, "target": "outputs/a"},
            {"path": "outputs/a", "kind": "file", "size": 0, "begin": 0, "mode": 0o644},
        ],
        [{"path": "log", "kind": "link", "mode": 0o777, "target": "/etc/passwd"}],
        [{"path": "log", "kind": "link", "mode": 0o777, "target": "../secret"}],
        [{"path": "log", "kind": "link", "mode": 0o777, "target": ""}],
        [{"path": "log", "kind": "block device", "mode": 0o777}],
        [{"path": "log", "kind": "file", "size": -1, "begin": 0, "mode": 0o644}],
        [{"path": "log", "kind": "file", "size": 5, "begin": 3, "mode": 0o644}],
        [{"path": "log", "kind": "file", "size": 2**70, "begin": 0, "mode": 0o644}],
        [{"path": "log", "kind": "file", "size": 1e999, "begin": 0, "mode": 0o644}],
        [
            {"path": "log", "kind": "directory", "mode": 0o755},
            {"path": "log", "kind": "file", "size": 0, "begin": 0, "mode": 0o644},
        ],
    ],
)
def test_entries_that_cannot_be_are_refused(
    destination: Path, entries: list[dict[str, Any]]
) -> None:
    # given
    tree = ReceivedTree(destination)

    # when
    with pytest.raises(TargetError, match="sent outputs that cannot be"):
        tree.take(map(_encoded, entries))

    # then
    assert [
        path for path in destination.rglob("*") if path.stat().st_size and path.is_file()
    ] == []


def test_links_that_lead_outside_by_way_of_another_are_refused(destination: Path) -> None:
    # given
    folders = ["outputs", "outputs/a", "outputs/a/b"]
    entries: list[dict[str, Any]] = [
        *({"path": path, "kind": "directory", "mode": 0o755} for path in folders),
        {"path": "outputs/a/b/top", "kind": "link", "mode": 0o777, "target": "../.."},
        {"path": "outputs/a/b/out", "kind": "link", "mode": 0o777, "target": "top/../../secret"},
    ]

    # when
    with pytest.raises(TargetError, match="a link that leads elsewhere: 'outputs/a/b/out'"):
        ReceivedTree(destination).take(map(_encoded, entries))

    # then
    assert not (destination / "outputs/a/b/out").exists()


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xff\xff\xff",
        b"\0\0\0\x02{",
        b"\0\0\0\x02[]",
        b"\0\0\0\x02\xff\xff",
        ENTRY_LENGTH.pack(60_000) + b"[" * 60_000,
        b"\0",
    ],
    ids=["without end", "cut", "no entry", "no text", "too deep", "cut within its length"],
)
def test_a_stream_that_is_none_is_refused(destination: Path, body: bytes) -> None:
    # when
    with pytest.raises(TargetError, match="cannot be"):
        ReceivedTree(destination).take(iter([body]))

    # then
    assert list(destination.iterdir()) == []


def test_what_arrives_belongs_to_its_owner_alone_to_change(destination: Path) -> None:
    # given
    entries = [
        {"path": "outputs", "kind": "directory", "mode": 0o7000},
        {"path": "log", "kind": "file", "mode": 0o6111, "size": 0, "begin": 0},
    ]

    # when
    ReceivedTree(destination).take(map(_encoded, entries))

    # then
    modes = [(destination / name).stat().st_mode & 0o7777 for name in ("outputs", "log")]
    assert modes == [0o700, 0o711]


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


def _encoded(entry: dict[str, Any]) -> bytes:
    description = json.dumps(entry).encode()
    return ENTRY_LENGTH.pack(len(description)) + description


def _leads_out(path: Path, destination: Path) -> bool:
    return not os.path.realpath(path).startswith(f"{destination}{os.sep}")
