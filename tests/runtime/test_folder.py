"""The files of a job: written whole or not at all, and readable whatever a script does to them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.runtime.job_agent.plain_file import read_from, size_of, write_new
from airflow_mltrain.runtime.job_agent.process import is_alive

CLAIM = {
    "status": "Preparing",
    "supervisor": {"pid": 1, "boot_id": "some boot", "pid_namespace": "1", "start_time": "1"},
}


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    folder = JobFolder(str(tmp_path), "run-1")
    folder.create()
    return folder


@pytest.mark.parametrize(
    "run_id", ["", ".", "..", ".hidden", "a/b", "/etc", "a\n", "a b", "x" * 201, "naïve"]
)
def test_a_run_id_cannot_name_a_place_elsewhere(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(ValueError, match="not a run id"):
        JobFolder(str(tmp_path), run_id)


def test_of_many_who_claim_at_once_one_succeeds(folder: JobFolder) -> None:
    with ThreadPoolExecutor(16) as pool:
        claims = list(pool.map(lambda n: folder.claim({**CLAIM, "number": n}), range(64)))

    assert claims.count(True) == 1
    assert folder.read_state() == {**CLAIM, "number": claims.index(True)}


def test_a_spec_keeps_what_its_first_writer_said(folder: JobFolder) -> None:
    folder.write_spec({"argv": ["first"]})
    folder.write_spec({"argv": ["second"]})

    assert folder.read_spec() == {"argv": ["first"]}


def test_nothing_but_the_file_is_left_of_a_writing(folder: JobFolder) -> None:
    write_new(f"{folder.path}/place", b"1")
    write_new(f"{folder.path}/place", b"2")
    folder.write_state({"status": "Running"})

    assert sorted(os.listdir(folder.path)) == ["place", "state.json"]  # noqa: PTH208


def test_a_state_survives_the_removal_of_its_folder(folder: JobFolder) -> None:
    folder.claim({"status": "Preparing"})
    folder.write_state({"status": "Running"})
    for path in list(Path(folder.path).iterdir()):
        path.unlink()
    Path(folder.path).rmdir()

    folder.write_last_state({**CLAIM, "status": "Completed"})

    assert folder.read_state() == {**CLAIM, "status": "Completed"}


@pytest.mark.parametrize("content", ["", "{}", "[1]", "null", '{"status": "Running"}'])
def test_a_damaged_state_is_one_whose_writer_is_gone(folder: JobFolder, content: str) -> None:
    Path(folder.state).write_text(content)

    state = folder.read_state()

    assert state is not None
    assert state["status"] == "Preparing"
    assert not is_alive(state["supervisor"])


def test_reading_starts_at_the_position_and_stops_at_the_limit(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"0123456789")

    assert read_from(str(log), 3, 4) == b"3456"
    assert read_from(str(log), 10, 4) == b""


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert read_from(str(tmp_path / "log"), 0, 10) == b""
    assert size_of(str(tmp_path / "log")) == 0


def test_a_pipe_in_place_of_a_log_holds_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")

    assert read_from(str(tmp_path / "log"), 0, 10) == b""


def test_a_link_in_place_of_a_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/etc/passwd")

    assert read_from(str(tmp_path / "log"), 0, 10) == b""


def test_a_note_of_the_environment_that_a_script_has_spoilt_counts_as_none(
    folder: JobFolder,
) -> None:
    # given
    digest = folder.write_environment({"key": "k", "packages": ["alpha==1.0"]})
    assert folder.read_environment(digest) == {"key": "k", "packages": ["alpha==1.0"]}

    # when
    Path(folder.environment).write_text('{"key": "k", "packages": ["evil==6.6"]}')

    # then
    assert folder.read_environment(digest) is None
