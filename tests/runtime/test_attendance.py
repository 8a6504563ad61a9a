"""Who counts as one that asks after a job, and when nobody has for too long."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.attendance import Attendance, note_attendance
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.runtime.job_agent.observer import Observer
from airflow_mltrain.runtime.job_agent.process import identity

_DAY = 86_400.0


class _Clock:
    """Seconds that go on when the test says so, with a look of the supervisor each second."""

    def __init__(self, path: Path, lease_seconds: float) -> None:
        self._now = 0.0
        self.attendance = Attendance(str(path), lease_seconds, lambda: self._now)

    def freeze(self, seconds: float) -> None:
        self._now += seconds

    def go_on(self, seconds: int) -> bool:
        for _ in range(seconds):
            self._now += 1
            if self.attendance.is_over():
                return True
        return False


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "attended"


def _make_old(mark: Path, seconds: float) -> None:
    changed_at = mark.stat().st_mtime - seconds
    os.utime(mark, (changed_at, changed_at))


def test_a_lease_runs_out_when_nobody_has_ever_asked(mark: Path) -> None:
    clock = _Clock(mark, 120)

    assert not clock.go_on(119)
    assert clock.go_on(1)


def test_every_mark_renews_the_lease_whatever_the_clock_on_the_wall_says(mark: Path) -> None:
    # given
    clock = _Clock(mark, 120)

    # when / then
    clock.go_on(100)
    note_attendance(str(mark), 120)
    assert not clock.go_on(100)
    _make_old(mark, 365 * _DAY)  # as after a correction of the time
    note_attendance(str(mark), 120)
    assert not clock.go_on(119)
    _make_old(mark, -_DAY)
    note_attendance(str(mark), 120)
    assert not clock.go_on(120)  # it is seen at the first look
    assert clock.go_on(1)


def test_who_could_not_look_blames_nobody(mark: Path) -> None:
    clock = _Clock(mark, 120)
    clock.go_on(110)

    clock.freeze(_DAY)

    assert not clock.go_on(119)
    assert clock.go_on(2)


def test_a_lease_that_has_run_out_is_not_renewed(mark: Path) -> None:
    clock = _Clock(mark, 120)
    clock.go_on(120)

    note_attendance(str(mark), 120)

    assert clock.attendance.is_over()


def test_marks_are_left_no_oftener_than_a_lease_needs(mark: Path) -> None:
    note_attendance(str(mark), 120)
    _make_old(mark, 5)
    left_at = mark.stat().st_mtime_ns

    note_attendance(str(mark), 120)
    is_left_again_at_once = mark.stat().st_mtime_ns != left_at
    _make_old(mark, 10)
    note_attendance(str(mark), 120)

    assert not is_left_again_at_once
    assert mark.stat().st_mtime_ns > left_at


def test_a_link_in_place_of_the_mark_leads_to_nothing_else(mark: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    _make_old(other, _DAY)
    changed_at = other.stat().st_mtime_ns
    mark.symlink_to(other)

    note_attendance(str(mark), 120)

    assert other.stat().st_mtime_ns == changed_at


@pytest.fixture
def running(tmp_path: Path) -> JobFolder:
    """A job that runs, and must not be left alone for ten seconds."""
    folder = JobFolder(str(tmp_path), "run-1")
    folder.create()
    folder.claim({"status": "Running", "supervisor": identity(), "lease_seconds": 10})
    return folder


def _mark_after_long_question(folder: JobFolder, *, is_heard: bool) -> float:
    """When the mark was left, which a first look left and the test made as old as can be."""
    seen = {"run-1": {"status": "Running", "log": 0, "metrics": 0, "environment_key": None}}
    answers = iter([True])  # heard when it asks
    looks = count()

    def grow_old() -> bool:
        if next(looks) == 0:
            os.utime(folder.attendance_mark, (0, 0))
        return False

    observer = Observer(folder.root)
    observer.observe(seen, 2.5, is_abandoned=grow_old, is_heard=lambda: next(answers, is_heard))
    return Path(folder.attendance_mark).stat().st_mtime


def test_a_long_question_counts_as_long_as_its_asker_is_heard(running: JobFolder) -> None:
    assert _mark_after_long_question(running, is_heard=True) > 0


def test_a_question_whose_asker_fell_silent_does_not_count(running: JobFolder) -> None:
    assert _mark_after_long_question(running, is_heard=False) == 0
