"""Whatever a machine sends as what a job left: nothing is written or reached outside."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.runtime.job_agent.delivery import ENTRY_LENGTH
from airflow_mltrain.runtime.job_agent.received_tree import ImpossibleTreeError, ReceivedTree

_names = st.sampled_from(
    ["outputs", "logs", "log", "a", "b", "c", "..", ".", "", "/etc", "x\0y", "\ud800", "n" * 300]
)
_paths = st.lists(_names, min_size=1, max_size=5).map("/".join) | st.sampled_from(
    ["outputs", "outputs/a", "outputs/a/b", "outputs/b", "logs", "log"]
)
_targets = st.lists(st.sampled_from(["..", "a", "b", "c", "outputs", "."]), max_size=6).map(
    "/".join
) | st.sampled_from(["/etc/passwd", "../../secret", "a/../../../secret", "\0", "\ud800"])
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
def destination(tmp_path: Path) -> Path:
    """An empty folder, deep enough that a way out of it leads to one of the test's."""
    destination = tmp_path / "above" / "destination"
    destination.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    return destination


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
        except (ImpossibleTreeError, OSError) as error:
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
    with pytest.raises(ImpossibleTreeError, match="sent outputs that cannot be"):
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
    with pytest.raises(
        ImpossibleTreeError, match="a link that leads elsewhere: 'outputs/a/b/out'"
    ):
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
    with pytest.raises(ImpossibleTreeError, match="cannot be"):
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


def _encoded(entry: dict[str, Any]) -> bytes:
    description = json.dumps(entry).encode()
    return ENTRY_LENGTH.pack(len(description)) + description


def _leads_out(path: Path, destination: Path) -> bool:
    return not os.path.realpath(path).startswith(f"{destination}{os.sep}")
