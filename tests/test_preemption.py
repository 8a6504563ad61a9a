"""Runs that are preempted go on in another one, exactly once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from airflow_mltrain import Experiment, Run, ScriptRunConfig, following, progress, submission
from airflow_mltrain.errors import RunCanceledError, RunFailedError, WaitTimeoutError
from airflow_mltrain.recording import Occasion
from airflow_mltrain.runs.database import Database
from airflow_mltrain.runs.history import RunHistory
from airflow_mltrain.runs.record import RunRecord, SubmissionKey
from airflow_mltrain.runs.schema import runs, to_row
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from airflow_mltrain.workspace import Workspace
from tests.services.call_stack import SHALLOW_FRAMES, shallow_stack
from tests.services.patience import PATIENCE_SECONDS
from tests.services.processes import run_together

_KEY = SubmissionKey("retrain", "scheduled__2026-01-01", "train")
_FIRST, _CLEARED = Occasion(_KEY, "first/0"), Occasion(_KEY, "cleared/1")
_COUNT = """
import os, pathlib, sys
from mltrain import Run

previous = Run.get_context().previous_outputs
epoch = 0 if previous is None else int(pathlib.Path(previous, "epoch").read_text())
print("epoch", epoch, flush=True)
with open(sys.argv[1], "a") as diary:
    diary.write(os.environ["MLTRAIN_RUN_ID"] + "\\n")
pathlib.Path("outputs/epoch").write_text(str(epoch + 1))
sys.exit(75 if epoch < int(sys.argv[2]) else 0)
"""
_STAYS = """
import sys, time, mltrain
if mltrain.Run.get_context().previous_outputs is None:
    open("outputs/x", "w").close()
    sys.exit(75)
time.sleep(1000)
"""
_STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
time.sleep(1000)
"""


@dataclass(frozen=True)
class Desk:
    """A project, and the workspace that its runs are recorded in."""

    workspace: Workspace
    folder: Path

    def config(self, preemptions: int = 2, script: str = _COUNT, **facts: Any) -> ScriptRunConfig:
        """A script that is preempted so often, before it comes to its end."""
        project = self.folder / "project"
        project.mkdir(exist_ok=True)
        (project / "train.py").write_text(script)
        config = ScriptRunConfig(project, "train.py", [self.folder / "diary", preemptions])
        config.run_config.exit_code_policy = {75: "preempted"}
        for name, fact in facts.items():
            setattr(config.run_config, name, fact)
        return config

    def submit(self, config: ScriptRunConfig) -> Run:
        """A run of nobody's."""
        return Experiment(self.workspace, "churn").submit(config)

    def preempted(self, config: ScriptRunConfig, occasion: Occasion | None = None) -> RunRecord:
        """A run that has ended as preempted, which nobody has seen yet."""
        record = submission.submit(self.workspace, "churn", config, occasion)
        record = progress.await_end(
            self.workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS
        )
        assert (record.status, record.exit_code) == (RunStatus.FAILED, 75)
        return record

    def runs(self) -> list[RunRecord]:
        """All runs, by generation."""
        return sorted(self.workspace.history.list_runs("churn"), key=lambda run: run.generation)

    def diary(self) -> list[str]:
        """The runs whose script began, in that order."""
        return (self.folder / "diary").read_text().split()


@pytest.fixture
def desk(settings: Settings, tmp_path: Path) -> Desk:
    return Desk(Workspace(settings), tmp_path)


def test_a_run_goes_on_from_its_checkpoint_as_often_as_it_is_preempted(
    desk: Desk, capfd: pytest.CaptureFixture[str]
) -> None:
    # given
    run = desk.submit(desk.config())
    first = run.id
    (desk.folder / "project" / "train.py").write_text("raise SystemExit('of another version')")

    # when
    details = run.wait_for_completion(show_output=True)

    # then
    assert details["status"] == "Completed"
    assert details["runId"] == run.id == f"{first}-p2"
    assert desk.diary() == [first, f"{first}-p1", f"{first}-p2"]
    assert capfd.readouterr().out == "epoch 0\nepoch 1\nepoch 2\n"
    runs = desk.runs()
    assert [one.status for one in runs] == [RunStatus.FAILED] * 2 + [RunStatus.COMPLETED]
    assert [one.properties.get("mltrain.preempted_run") for one in runs] == [
        None,
        *(one.run_id for one in runs[:2]),
    ]
    assert len({(one.snapshot_id, json.dumps(one.config)) for one in runs}) == 1


def _wait(work: tuple[Settings, str]) -> str:
    settings, run_id = work
    run = Run.get(Workspace(settings), run_id)
    run.wait_for_completion()
    return run.id


def test_all_who_wait_for_a_run_wait_for_the_same_one_next(desk: Desk) -> None:
    # given
    run = desk.preempted(desk.config())

    # when
    ends = run_together(_wait, [(desk.workspace.settings, run.run_id)] * 3)

    # then
    assert set(ends) == {f"{run.run_id}-p2"}
    assert desk.diary() == [run.run_id, f"{run.run_id}-p1", f"{run.run_id}-p2"]


def test_a_wait_that_is_over_when_its_run_is_preempted_has_seen_no_failure(desk: Desk) -> None:
    # given
    run = Run.get(desk.workspace, desk.preempted(desk.config(preemptions=1)).run_id)

    # when / then
    with pytest.raises(WaitTimeoutError, match="still preempted"):
        run.wait_for_completion(timeout_seconds=0)
    assert run.wait_for_completion()["status"] == "Completed"


def test_a_run_that_is_preempted_too_often_has_failed(desk: Desk) -> None:
    run = desk.submit(desk.config(preemptions=5, max_preemptions=1))

    with pytest.raises(RunFailedError, match=r"went on 1 times.*max_preemptions = 1 allows"):
        run.wait_for_completion()

    assert len(desk.diary()) == 2


def test_a_limit_of_its_own_is_no_preemption_whatever_the_script_answers(desk: Desk) -> None:
    run = desk.submit(desk.config(script=_STUBBORN, max_run_duration_seconds=5))

    with pytest.raises(RunFailedError, match="max_run_duration_seconds = 5") as caught:
        run.wait_for_completion()

    assert caught.value.exit_code == 75
    assert len(desk.runs()) == 1


def test_a_retry_after_a_crash_goes_on_from_the_preempted_run(desk: Desk) -> None:
    # given
    config = desk.config(preemptions=1)
    run = desk.preempted(config, _FIRST)

    # when
    again = submission.submit(desk.workspace, "churn", config, _FIRST)
    once_more = submission.submit(desk.workspace, "churn", config, _FIRST)

    # then
    assert again.run_id == once_more.run_id == f"{run.run_id}-p1"
    ended = progress.await_end(desk.workspace, again.run_id, timeout_seconds=PATIENCE_SECONDS)
    assert (ended.status, ended.generation) == (RunStatus.COMPLETED, 2)
    assert len(desk.diary()) == 2


def test_who_slept_through_a_retry_waits_for_what_that_has_started(desk: Desk) -> None:
    # given
    config = desk.config(preemptions=1)
    run = desk.preempted(config, _FIRST)
    again = submission.submit(desk.workspace, "churn", config, _FIRST)
    progress.await_end(desk.workspace, again.run_id, timeout_seconds=PATIENCE_SECONDS)

    # when
    found = submission.go_on(desk.workspace, run)

    # then
    assert (found.run_id, found.status) == (again.run_id, RunStatus.COMPLETED)
    assert len(desk.runs()) == 2


def test_a_person_who_asks_again_begins_anew(desk: Desk) -> None:
    config = desk.config(preemptions=1)
    run = desk.preempted(config, _FIRST)

    again = submission.submit(desk.workspace, "churn", config, _CLEARED)

    progress.await_end(desk.workspace, again.run_id, timeout_seconds=PATIENCE_SECONDS)
    assert not again.run_id.startswith(run.run_id)
    assert again.generation == 2


class _OvertakenHistory(RunHistory):
    """A history in which somebody else does something just before the first run is added."""

    def __init__(self, database: Database, overtake: Callable[[], object]) -> None:
        super().__init__(database)
        self._overtakers = [overtake]

    def add(self, record: RunRecord) -> RunRecord:
        if self._overtakers:
            self._overtakers.pop()()
        return super().add(record)


def test_who_asks_again_gets_a_new_run_though_a_waiter_lets_the_old_one_go_on(
    desk: Desk,
) -> None:
    # given
    run = desk.preempted(desk.config(), _FIRST)
    workspace = Workspace(desk.workspace.settings)
    workspace.history = _OvertakenHistory(
        Database(workspace.settings.database_url), lambda: submission.go_on(desk.workspace, run)
    )

    # when
    config = desk.config(script="print('of another version')")
    again = submission.submit(workspace, "churn", config, _CLEARED)

    # then
    progress.await_end(desk.workspace, again.run_id, timeout_seconds=PATIENCE_SECONDS)
    assert [(one.occasion, one.status) for one in desk.runs()] == [
        (_FIRST.token, RunStatus.FAILED),
        (_FIRST.token, RunStatus.CANCELED),
        (_CLEARED.token, RunStatus.COMPLETED),
    ]
    assert desk.runs()[-1].run_id == again.run_id


def test_who_still_waits_for_a_canceled_run_does_not_cancel_what_was_asked_for_since(
    desk: Desk,
) -> None:
    # given
    run = desk.preempted(desk.config(), _FIRST)
    submission.cancel(desk.workspace, run.run_id)
    again = submission.submit(desk.workspace, "churn", desk.config(preemptions=0), _CLEARED)

    # when
    found = submission.go_on(desk.workspace, run)

    # then
    assert found.run_id == again.run_id
    ended = progress.await_end(desk.workspace, again.run_id, timeout_seconds=PATIENCE_SECONDS)
    assert ended.status is RunStatus.COMPLETED


def test_a_canceled_run_goes_on_no_more_though_it_was_preempted_first(desk: Desk) -> None:
    # given
    run = desk.preempted(desk.config())
    submission.cancel(desk.workspace, run.run_id)

    # when
    with pytest.raises(RunCanceledError):
        Run.get(desk.workspace, run.run_id).wait_for_completion()

    # then
    assert [one.run_id for one in desk.runs()] == [run.run_id]


def test_a_cancel_that_comes_while_it_goes_on_reaches_the_run_that_follows(desk: Desk) -> None:
    # given
    run = desk.preempted(desk.config())
    submission.cancel(desk.workspace, run.run_id)

    # when somebody had looked at the run before, and goes on after
    successor = submission.go_on(desk.workspace, run)

    # then
    assert successor.status is RunStatus.CANCELED
    assert desk.diary() == [run.run_id]


def test_canceling_a_preempted_run_ends_the_one_that_went_on(desk: Desk) -> None:
    # given
    run = desk.preempted(desk.config(script=_STAYS))
    successor = submission.start(desk.workspace, submission.go_on(desk.workspace, run))

    # when
    submission.cancel(desk.workspace, run.run_id)

    # then
    ended = progress.await_end(desk.workspace, successor.run_id, timeout_seconds=PATIENCE_SECONDS)
    assert ended.status is RunStatus.CANCELED


def test_a_task_that_is_given_up_sees_the_run_end_in_which_its_own_went_on(desk: Desk) -> None:
    # given
    run = desk.preempted(desk.config(script=_STAYS))
    successor = submission.start(desk.workspace, submission.go_on(desk.workspace, run))

    # when
    seen = following.cancel_from_task(desk.workspace, run.run_id, is_killed_soon=False)

    # then
    assert (seen.run_id, seen.status) == (successor.run_id, RunStatus.CANCELED)


def test_a_cancel_reaches_a_run_that_was_preempted_very_often(desk: Desk) -> None:
    # given
    first = desk.preempted(desk.config(max_preemptions=10_000))
    often = SHALLOW_FRAMES
    chain = [
        replace(first, run_id=f"{first.run_id}-p{n}", generation=n + 1) for n in range(1, often)
    ]
    chain.append(replace(chain[-1], run_id=f"{first.run_id}-p{often}", status=RunStatus.QUEUED))
    with Database(desk.workspace.settings.database_url).writing() as connection:
        connection.execute(insert(runs), [to_row(one) for one in chain])

    # when
    with shallow_stack():
        canceled = submission.cancel(desk.workspace, first.run_id)

    # then
    assert (canceled.run_id, canceled.status) == (chain[-1].run_id, RunStatus.CANCEL_REQUESTED)


@pytest.mark.parametrize("action", ["fail", "skip"])
def test_a_retry_after_a_crash_does_not_repeat_what_ended_for_good(
    desk: Desk, action: str
) -> None:
    # given
    config = desk.config(exit_code_policy={75: action})
    run = desk.preempted(config, _FIRST)

    # when
    again = submission.submit(desk.workspace, "churn", config, _FIRST)

    # then
    assert again == run
