"""What an ended job leaves, on its way out of its machine."""

from __future__ import annotations

import json
import os
import socket
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.runtime.job_agent.delivery import ENTRY_LENGTH, deliver
from airflow_mltrain.runtime.job_agent.folder import JobFolder

_MEBIBYTE = 1024 * 1024


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    """An ended job that left nothing yet."""
    folder = JobFolder(str(tmp_path / "the root"), "run-1")
    Path(folder.outputs).mkdir(parents=True)
    Path(folder.watched_logs).mkdir()
    return folder


def test_log_outputs_and_watched_logs_go_out_and_nothing_else(folder: JobFolder) -> None:
    # given
    Path(folder.log).write_text("trained\n")
    (Path(folder.outputs) / "model").write_text("weights")
    (Path(folder.code) / "scratch").write_text("scratch")
    folder.write_spec({"secret": "no"})

    # when
    entries, left_behind = _deliver(folder)

    # then
    assert [entry["path"] for entry in entries] == ["log", "outputs", "outputs/model", "logs"]
    assert entries[2] == {
        "path": "outputs/model",
        "mode": 0o644,
        "kind": "file",
        "size": 7,
        "begin": 0,
        "content": b"weights",
    }
    assert left_behind == []


def test_a_job_that_left_nothing_sends_nothing(tmp_path: Path) -> None:
    # when
    entries, left_behind = _deliver(JobFolder(str(tmp_path), "never-ran"))

    # then
    assert (entries, left_behind) == ([], [])


def test_what_the_receiver_has_does_not_go_out_again(folder: JobFolder) -> None:
    # given
    outputs = Path(folder.outputs)
    (outputs / "part").write_text("0123456789")
    (outputs / "whole").write_text("0123456789")
    (outputs / "shrunk").write_text("012")
    have = {"outputs/part": 4, "outputs/whole": 10, "outputs/shrunk": 2**40, "outputs/gone": 5}

    # when
    entries, _ = _deliver(folder, have)

    # then
    sent = {entry["path"]: entry["content"] for entry in entries if entry["kind"] == "file"}
    assert sent == {"outputs/part": b"456789", "outputs/whole": b"", "outputs/shrunk": b""}


def test_names_that_no_text_holds_go_out(folder: JobFolder) -> None:
    # given
    name = os.fsdecode(b"\xff\xfe not \n text")
    (Path(folder.outputs) / name).write_text("content")

    # when
    entries, _ = _deliver(folder)

    # then
    assert [entry["path"] for entry in entries] == ["outputs", f"outputs/{name}", "logs"]


def test_what_is_no_file_or_leads_outside_is_left_behind(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    outputs = Path(folder.outputs)
    monkeypatch.chdir(outputs)  # the name of a socket has to be short
    os.mkfifo("pipe")
    (outputs / "absolute").symlink_to("/etc/passwd")
    (outputs / "up").symlink_to("..")
    (outputs / "itself").symlink_to(".")
    (outputs / "to logs").symlink_to("../logs")
    (outputs / "around").symlink_to("around")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")

        # when
        entries, left_behind = _deliver(folder)

    # then
    assert sorted(left_behind) == [
        "outputs/absolute", "outputs/itself", "outputs/pipe", "outputs/socket", "outputs/to logs",
        "outputs/up",
    ]  # fmt: skip
    assert [entry["path"] for entry in entries] == ["outputs", "outputs/around", "logs"]


def test_a_link_goes_out_as_the_way_it_leads(folder: JobFolder) -> None:
    # given
    outputs = Path(folder.outputs)
    (outputs / "steps" / "last").mkdir(parents=True)
    (outputs / "latest").symlink_to("steps")
    (outputs / "steps" / "absolute").symlink_to(outputs / "latest" / "last")
    (outputs / "steps" / "up").symlink_to("../latest/../nowhere")

    # when
    entries, left_behind = _deliver(folder)

    # then
    ways = {entry["path"]: entry["target"] for entry in entries if entry["kind"] == "link"}
    assert ways == {
        "outputs/latest": "steps",
        "outputs/steps/absolute": "last",
        "outputs/steps/up": "../nowhere",
    }
    assert left_behind == []


@pytest.mark.parametrize("top", ["outputs", "logs"])
def test_a_folder_that_became_a_file_goes_out_as_one(folder: JobFolder, top: str) -> None:
    # given
    path = Path(folder.code) / top
    path.rmdir()
    path.write_text("a file")

    # when
    entries, _ = _deliver(folder)

    # then
    assert [entry["content"] for entry in entries if entry["path"] == top] == [b"a file"]


def test_a_large_file_goes_out_in_bounded_memory(folder: JobFolder) -> None:
    # given
    with (Path(folder.outputs) / "sparse").open("wb") as file:
        file.truncate(200 * _MEBIBYTE)
    sizes: list[int] = []
    tracemalloc.start()

    # when
    deliver(folder, {}, lambda part: sizes.append(len(part)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # then
    assert sum(sizes) > 200 * _MEBIBYTE
    assert max(sizes) < _MEBIBYTE
    assert peak < 4 * _MEBIBYTE


def test_many_small_files_share_few_parts(folder: JobFolder) -> None:
    # given
    for number in range(500):
        (Path(folder.outputs) / str(number)).write_text("small")
    parts: list[bytes] = []

    # when
    deliver(folder, {}, parts.append)

    # then
    assert len(parts) == 1


def test_a_receiver_that_left_ends_the_delivery(folder: JobFolder) -> None:
    # given
    (Path(folder.outputs) / "model").write_bytes(bytes(3 * _MEBIBYTE))
    parts: list[bytes] = []

    def leave(part: bytes) -> None:
        parts.append(part)
        raise InterruptedError

    # when
    with pytest.raises(InterruptedError):
        deliver(folder, {}, leave)

    # then
    assert len(parts) == 1


def _deliver(
    folder: JobFolder, have: dict[str, int] | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """The entries, those of files with their content, and what was left behind."""
    parts: list[bytes] = []
    left_behind = deliver(folder, have or {}, parts.append)
    return _entries(b"".join(parts)), left_behind


def _entries(body: bytes) -> list[dict[str, Any]]:
    entries = []
    while body:
        (length,) = ENTRY_LENGTH.unpack(body[: ENTRY_LENGTH.size])
        start = ENTRY_LENGTH.size + length
        entry = json.loads(body[ENTRY_LENGTH.size : start])
        end = start
        if entry["kind"] == "file":
            end = start + entry["size"] - entry["begin"]
            entry["content"] = body[start:end]
        entries.append(entry)
        body = body[end:]
    return entries
