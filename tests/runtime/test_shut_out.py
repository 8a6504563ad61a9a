"""What a script does to its own run's files: its job ends all the same, and no other is hidden."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.runtime.job_agent import process
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.runtime.job_agent.inventory import collect_blobs, list_jobs
from airflow_mltrain.runtime.job_agent.observer import Observer
from tests.services.patience import PATIENCE_SECONDS
from tests.services.unprivileged import unprivileged

_DEAD = {"pid": 0, "boot_id": "another", "pid_namespace": "", "start_time": ""}
_RUNNING: dict[str, Any] = {"status": "Running", "supervisor": _DEAD}
_ENDED: dict[str, Any] = {"status": "Completed", "supervisor": process.identity()}
_UNSEEN: dict[str, Any] = {"status": "", "log": 0, "metrics": 0, "environment_key": None}


def _replace_folder(folder: JobFolder) -> None:
    shutil.rmtree(folder.path)
    Path(folder.path).write_text("no folder")


def _replace_state(folder: JobFolder) -> None:
    Path(folder.state).unlink(missing_ok=True)
    (Path(folder.state) / "in the way").mkdir(parents=True)


def _shut_folder(folder: JobFolder) -> None:
    Path(folder.path).chmod(0)


def _shut_state(folder: JobFolder) -> None:
    Path(folder.state).chmod(0)


def _spoil_spec(folder: JobFolder) -> None:
    Path(folder.spec).write_text('{"snapshot_id": 7}')


def _pipe_spec(folder: JobFolder) -> None:
    os.mkfifo(folder.spec)


def _lease_state(folder: JobFolder) -> None:
    """So that whoever opens it is asked to come again."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    descriptor = os.open(folder.state, os.O_RDWR)  # to the end of this process
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)


def _watch_all(root: str, spoil: Callable[[JobFolder], None]) -> tuple[Any, Any, Any]:
    """What is seen of a run that is spoilt and of one that is not, in each of the ways to look."""
    spoilt, other = JobFolder(root, "spoilt"), JobFolder(root, "other")
    for folder, state in ((spoilt, _RUNNING), (other, _ENDED)):
        folder.create()
        folder.write_state(state)
    (Path(root) / "blobs").mkdir()
    spoil(spoilt)
    observer, seen = Observer(root), {"spoilt": _UNSEEN, "other": _UNSEEN}
    collected = collect_blobs(root, 0.0, is_dry_run=False)
    sights = [observer.observe(seen, 0.0)]
    sights.append(Observer(root).observe(seen, 0.0))
    return sights, list_jobs(root), collected


@pytest.mark.parametrize(
    "spoil",
    [
        _replace_folder,
        _replace_state,
        _shut_folder,
        _shut_state,
        _lease_state,
        _spoil_spec,
        _pipe_spec,
    ],
)
def test_a_run_that_spoils_its_files_ends_and_hides_no_other(
    spoil: Callable[[JobFolder], None],
) -> None:
    # when
    with unprivileged() as user:
        work = user.process.submit(_watch_all, str(user.folder / "root"), spoil)
        sights, listed, collected = work.result(timeout=PATIENCE_SECONDS)

    # then
    assert [sight["other"]["status"] for sight in sights] == ["Completed", "Completed"]
    assert "other" in [job["run_id"] for job in listed]
    assert collected["count"] == 0
    # Failed, or missing, which whoever follows takes for lost
    assert sights[-1].get("spoilt", {"status": "Failed"})["status"] == "Failed"


def test_a_stray_file_among_the_runs_is_no_job(tmp_path: Path) -> None:
    # given
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "stray").write_text("")

    # when
    listed = list_jobs(str(tmp_path))

    # then
    assert listed == []


def _end(root: str, spoil: Callable[[JobFolder], None]) -> Any:
    folder = JobFolder(root, "run-1")
    folder.create()
    folder.write_state(_RUNNING)
    spoil(folder)
    folder.write_last_state(_ENDED)
    return folder.read_state()


@pytest.mark.parametrize("spoil", [_replace_folder, _replace_state, _shut_folder, _shut_state])
def test_an_end_is_recorded_whatever_is_in_its_place(spoil: Callable[[JobFolder], None]) -> None:
    # when
    with unprivileged() as user:
        state = user.process.submit(_end, str(user.folder / "root"), spoil).result(
            timeout=PATIENCE_SECONDS
        )

    # then
    assert state == _ENDED


def _measure(root: str) -> tuple[Any, dict[str, int], str]:
    folder = JobFolder(root, "run-1")
    folder.create()
    folder.write_state(_RUNNING)
    for path in (folder.log, folder.metrics):
        Path(path).write_text("said")
        Path(path).chmod(0)
    seen = Observer(root).observe({"run-1": _UNSEEN}, 0.0)["run-1"]
    return seen, folder.measure(), Path(folder.log).read_text()


def test_a_log_that_a_script_has_shut_is_there_when_its_job_ends() -> None:
    # when
    with unprivileged() as user:
        seen, measured, log = user.process.submit(_measure, str(user.folder / "root")).result(60)

    # then
    assert (seen["log"], seen["log_bytes"]) == (b"said", 4)
    assert measured == {"log_bytes": 4, "metrics_bytes": 4}
    assert log == "said"
