"""Laying out a snapshot on a machine: whole, and nowhere else."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.runtime.job_agent.checkout import check_out, find_leaving_link

if TYPE_CHECKING:
    from pathlib import Path

_CONTENT = b"print('training')\n"
_DIGEST = hashlib.sha256(_CONTENT).hexdigest()
_FILE = {"kind": "file", "mode": "644", "sha256": _DIGEST, "size": len(_CONTENT)}


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    """A folder with the one blob."""
    blob = tmp_path / "blobs" / _DIGEST[:2] / _DIGEST
    blob.parent.mkdir(parents=True)
    blob.write_bytes(_CONTENT)
    return tmp_path / "blobs"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    return tmp_path / "job" / "code"


def test_files_links_and_directories_are_laid_out(blobs: Path, code: Path) -> None:
    # given
    manifest = _manifest(
        {"kind": "directory", "mode": "755", "path": "empty"},
        {"kind": "link", "path": "latest", "target": "model/net.py"},
        {"kind": "directory", "mode": "750", "path": "model"},
        {**_FILE, "path": "model/net.py", "mode": "755"},
    )
    # when
    check_out(manifest, str(blobs), str(code))
    # then
    assert (code / "latest").readlink().as_posix() == "model/net.py"
    assert (code / "model" / "net.py").read_bytes() == _CONTENT
    assert _mode(code / "model" / "net.py") == 0o755
    assert _mode(code / "model") == 0o750
    assert list((code / "empty").iterdir()) == []


def test_modes_do_not_depend_on_the_users_mask(blobs: Path, code: Path) -> None:
    # given
    manifest = _manifest(
        {"kind": "directory", "mode": "775", "path": "model"},
        {**_FILE, "path": "train.py", "mode": "666"},
    )
    before = os.umask(0o077)
    # when
    try:
        check_out(manifest, str(blobs), str(code))
    finally:
        os.umask(before)
    # then
    assert _mode(code / "model") == 0o775
    assert _mode(code / "train.py") == 0o666


def test_the_owner_can_always_change_a_directory(blobs: Path, code: Path) -> None:
    # given
    manifest = _manifest({"kind": "directory", "mode": "55", "path": "model"})
    # when
    check_out(manifest, str(blobs), str(code))
    # then
    assert _mode(code / "model") == 0o755


def test_a_script_that_changes_its_code_does_not_change_the_blob(blobs: Path, code: Path) -> None:
    # given
    check_out(_manifest({**_FILE, "path": "train.py"}), str(blobs), str(code))
    # when
    (code / "train.py").write_text("changed")
    # then
    assert (blobs / _DIGEST[:2] / _DIGEST).read_bytes() == _CONTENT


def test_a_name_that_is_no_text_comes_back(blobs: Path, code: Path) -> None:
    # given
    manifest = _manifest({**_FILE, "path": "\udcff\n"})
    # when
    check_out(manifest, str(blobs), str(code))
    # then
    assert os.listdir(os.fsencode(code)) == [b"\xff\n"]  # noqa: PTH208 - names are bytes


def test_an_interrupted_checkout_is_completed(blobs: Path, code: Path, tmp_path: Path) -> None:
    # given
    manifest = _manifest(
        {"kind": "link", "path": "latest", "target": "model"},
        {"kind": "directory", "mode": "755", "path": "model"},
        {**_FILE, "path": "model/net.py", "mode": "444"},
    )
    check_out(manifest, str(blobs), str(code))
    outside = tmp_path / "outside"
    outside.write_bytes(b"kept")
    (code / "model" / "net.py").unlink()
    (code / "model" / "net.py").symlink_to(outside)
    # when
    check_out(manifest, str(blobs), str(code))
    # then
    assert (code / "model" / "net.py").read_bytes() == _CONTENT
    assert not (code / "model" / "net.py").is_symlink()
    assert outside.read_bytes() == b"kept"


def test_a_link_in_the_place_of_a_directory_is_not_followed(
    blobs: Path, code: Path, tmp_path: Path
) -> None:
    # given
    code.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (code / "model").symlink_to(tmp_path / "outside")
    manifest = _manifest(
        {"kind": "directory", "mode": "755", "path": "model"}, {**_FILE, "path": "model/net.py"}
    )
    # when
    with pytest.raises(FileExistsError):
        check_out(manifest, str(blobs), str(code))
    # then
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    "entries",
    [
        [{**_FILE, "path": "/train.py"}],
        [{**_FILE, "path": "../train.py"}],
        [{**_FILE, "path": ""}],
        [{**_FILE, "path": "."}],
        [{**_FILE, "path": "a\0b"}],
        [{**_FILE, "path": "\ud800"}],
        [{**_FILE, "path": "model/net.py"}],
        [{**_FILE, "path": "a"}, {**_FILE, "path": "a"}],
        [{**_FILE, "path": "a"}, {**_FILE, "path": "a/b"}],
        [{"kind": "link", "path": "a", "target": "b"}, {**_FILE, "path": "a/b"}],
        [{"kind": "link", "path": "a", "target": "/etc"}],
        [{"kind": "link", "path": "a", "target": ".."}],
        [{"kind": "link", "path": "a", "target": ""}],
        [{"kind": "link", "path": "a", "target": "b\0"}],
        [{**_FILE, "path": "a", "sha256": "../../etc/passwd"}],
        [{**_FILE, "path": "a", "mode": "4755"}],
        [{**_FILE, "path": "a", "size": "18"}],
        [{"kind": "door", "path": "a"}],
        [["a"]],
    ],
)
def test_an_unsafe_manifest_is_refused_before_anything_is_written(
    blobs: Path, code: Path, entries: list[Any]
) -> None:
    # when
    with pytest.raises(ValueError, match=r"."):
        check_out(_manifest(*entries), str(blobs), str(code))
    # then
    assert not code.exists()


@pytest.mark.parametrize(
    "manifest",
    [
        *(b"", b"\xff", b"[]", b'{"version":2}\n', b"{}\n"),
        b"[" * 100_000,
        b'{"version":1}\n' + b"[" * 100_000,
    ],
)
def test_what_is_no_manifest_is_refused(blobs: Path, code: Path, manifest: bytes) -> None:
    # when
    with pytest.raises(ValueError, match=r"."):
        check_out(manifest, str(blobs), str(code))
    # then
    assert not code.exists()


def test_a_missing_blob_is_named_before_anything_is_written(blobs: Path, code: Path) -> None:
    # given
    absent = hashlib.sha256(b"absent").hexdigest()
    manifest = _manifest({**_FILE, "path": "a"}, {**_FILE, "path": "b", "sha256": absent})
    # when
    with pytest.raises(FileNotFoundError, match=absent):
        check_out(manifest, str(blobs), str(code))
    # then
    assert not code.exists()


def test_a_blob_that_was_cut_short_is_named(blobs: Path, code: Path) -> None:
    # given
    os.truncate(blobs / _DIGEST[:2] / _DIGEST, 3)
    # when
    with pytest.raises(ValueError, match=f"{_DIGEST} is damaged"):
        check_out(_manifest({**_FILE, "path": "a"}), str(blobs), str(code))
    # then
    assert not code.exists()


@pytest.mark.parametrize(
    "links",
    [
        {"a": "/"},
        {"a": ".."},
        {"a": "b/../.."},
        {"b/a": "../.."},
        {"deep/er/top": "../..", "z": "deep/er/top/.."},
        {"x": "y/..", "y": "z", "z": "..", "d": "."},
    ],
)
def test_a_way_out_is_found(links: dict[str, str]) -> None:
    # when
    found = find_leaving_link(links)
    # then
    assert found in links


@pytest.mark.parametrize(
    "links",
    [
        {},
        {"a": "."},
        {"a": "nowhere"},
        {"a": "a"},
        {"a": "b", "b": "a"},
        {"a": "b/../c"},
        {"b/a": ".."},
        {"b/a": "../b//./a"},
        {"d/top": "..", "z": "d/top/d/.."},
    ],
)
def test_links_that_stay_inside_are_let_be(links: dict[str, str]) -> None:
    # when
    found = find_leaving_link(links)
    # then
    assert found is None


def _manifest(*entries: Any) -> bytes:
    lines = [{"version": 1}, *entries]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_very_many_files_are_laid_out_by_several_processes(blobs: Path, code: Path) -> None:
    # given
    names = [f"f{number}" for number in range(2500)]
    manifest = _manifest(*({**_FILE, "path": name} for name in names))

    # when
    check_out(manifest, str(blobs), str(code), processes=3)

    # then
    assert {path.name: path.read_bytes() for path in code.iterdir()} == dict.fromkeys(
        names, _CONTENT
    )


def test_what_another_process_could_not_copy_is_said(blobs: Path, code: Path) -> None:
    # given
    manifest = _manifest(*({**_FILE, "path": f"f{number}"} for number in range(2500)))
    (code / "f1").mkdir(parents=True)  # the second of three processes comes to it

    # when, then
    with pytest.raises(OSError, match="f1'"):
        check_out(manifest, str(blobs), str(code), processes=3)
