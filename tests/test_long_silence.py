"""A target that is silent for long ends a wait, never a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import repeat
from pathlib import Path
from threading import Timer

import pytest

from airflow_mltrain import Experiment, Run, Workspace, following, progress, submission
from airflow_mltrain.errors import (
    ConfigurationError,
    TargetUnreachableError,
    UnreachableTimeoutError,
    WaitTimeoutError,
)
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.base import ComputeTarget
from tests.fakes.flaky_target import FlakyTarget
from tests.services.breakable_target import BreakableTarget, breakable_target
from tests.services.jobs import wait_for

CUT = TargetUnreachableError("the cable is out")


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[BreakableTarget]:
    with breakable_target(monkeypatch, tmp_path) as target:
        yield target


@pytest.fixture
def workspace(settings: Settings) -> Workspace:
    return Workspace(replace(settings, unreachable_timeout_seconds=0.2))


@pytest.fixture
def patient(settings: Settings) -> Workspace:
    return Workspace(settings)


def running(box: BreakableTarget, workspace: Workspace) -> RunRecord:
    """A run that has begun, and ends soon after, on a target that is cut by then."""
    record = box.submit(workspace, "echo begun; sleep 2; echo done")
    wait_for(lambda: progress.refresh(workspace, record.run_id).status is RunStatus.RUNNING)
    box.cut()
    return record


def test_a_task_gives_the_wait_up_and_the_run_goes_on(
    box: BreakableTarget, workspace: Workspace
) -> None:
    # given
    run_id = running(box, workspace).run_id

    # when
    with pytest.raises(UnreachableTimeoutError, match="target 'box' has not answered"):
        following.follow_in_task(workspace, run_id, "reader", seconds=None)

    # then
    assert workspace.history.get(run_id).status is RunStatus.RUNNING
    box.repair()
    ended = following.follow_in_task(workspace, run_id, "reader", seconds=None)
    assert ended.status is RunStatus.COMPLETED


def test_a_task_may_have_a_limit_of_its_own(box: BreakableTarget, patient: Workspace) -> None:
    # given
    run_id = running(box, patient).run_id

    # when / then
    with pytest.raises(UnreachableTimeoutError):
        following.follow_in_task(
            patient, run_id, "reader", seconds=None, unreachable_timeout_seconds=0.2
        )
    box.repair()
    assert progress.await_end(patient, run_id).status is RunStatus.COMPLETED


def test_a_task_whose_patience_ends_in_the_silence_has_the_run_to_wait_for(
    box: BreakableTarget, patient: Workspace
) -> None:
    # given
    run_id = running(box, patient).run_id

    # when
    record = following.follow_in_task(patient, run_id, "reader", seconds=0.1)

    # then
    assert record.status is RunStatus.RUNNING
    box.repair()
    assert progress.await_end(patient, run_id).status is RunStatus.COMPLETED


def test_a_wait_in_python_goes_on_through_a_break_and_says_so_once(
    box: BreakableTarget,
    patient: Workspace,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # given
    run = Run.get(patient, running(box, patient).run_id)
    timer = Timer(0.5, box.repair)
    timer.start()

    # when
    with caplog.at_level(logging.WARNING, "airflow_mltrain"):
        details = run.wait_for_completion(show_output=True)

    # then
    timer.join()
    assert details["status"] == "Completed"
    assert capsys.readouterr().out == "begun\ndone\n"
    said = [record.message for record in caplog.records if run.id in record.message]
    assert ["goes on unobserved" in said[0], "is observed again" in said[1]] == [True, True]
    assert len(said) == 2


def test_a_wait_in_python_shows_the_log_once_across_a_break(
    settings: Settings, box: BreakableTarget, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    config = box.config("for i in 1 2 3 4; do echo $i; sleep 0.3; done")
    run = Experiment(_LaterCutWorkspace(settings), "cut").submit(config)

    # when
    run.wait_for_completion(show_output=True)

    # then
    assert capsys.readouterr().out == "1\n2\n3\n4\n"


class _LaterCutTarget(FlakyTarget):
    def _fail(self) -> None:
        if len(self.exchanges) == 2:
            super()._fail()


class _LaterCutWorkspace(Workspace):
    """Its target fails once, at the third exchange."""

    @cached_property
    def _target(self) -> ComputeTarget:
        return _LaterCutTarget(super().get_target("box"), [CUT])

    def get_target(self, name: str) -> ComputeTarget:
        assert name == "box"
        return self._target


def test_a_wait_in_python_is_given_up_and_the_run_goes_on(
    box: BreakableTarget, workspace: Workspace
) -> None:
    # given
    run = Run.get(workspace, running(box, workspace).run_id)

    # when
    with pytest.raises(UnreachableTimeoutError, match=run.id):
        run.wait_for_completion()

    # then
    assert workspace.history.get(run.id).status is RunStatus.RUNNING
    box.repair()
    assert run.wait_for_completion()["status"] == "Completed"


def test_a_wait_in_python_ends_at_its_own_timeout_while_nothing_answers(
    box: BreakableTarget, patient: Workspace
) -> None:
    # given
    run = Run.get(patient, running(box, patient).run_id)

    # when
    with pytest.raises(WaitTimeoutError, match=r"still Running after 0\.2 seconds") as caught:
        run.wait_for_completion(timeout_seconds=0.2)

    # then
    assert not isinstance(caught.value, UnreachableTimeoutError)
    box.repair()
    assert run.wait_for_completion()["status"] == "Completed"


def test_a_submission_to_a_silent_target_says_so_at_once(
    box: BreakableTarget, patient: Workspace
) -> None:
    # given
    box.cut()

    # when / then
    with pytest.raises(TargetUnreachableError, match="nowhere"):
        submission.submit(patient, "cut", box.config("true"))


def test_a_cancel_that_meets_silence_is_seen_to_by_another_process(
    box: BreakableTarget, patient: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    record = box.submit(patient, "sleep 60")
    monkeypatch.setenv("AIRFLOW__MLTRAIN__ARTIFACTS", str(patient.settings.artifacts))
    unreachable = _UnreachableWorkspace(patient.settings)

    # when
    following.cancel_from_task(unreachable, record.run_id, is_killed_soon=True)

    # then
    wait_for(lambda: patient.history.get(record.run_id).status.is_terminal)
    assert patient.history.get(record.run_id).status is RunStatus.CANCELED


class _UnreachableWorkspace(Workspace):
    def get_target(self, name: str) -> ComputeTarget:
        return FlakyTarget(super().get_target(name), repeat(CUT))


class _CutWorkspace(Workspace):
    """Has connected its target, and gets no answer any more."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace.settings)
        self._target = FlakyTarget(workspace.get_target("box"), repeat(CUT))

    def get_target(self, name: str) -> ComputeTarget:
        assert name == "box"
        return self._target


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_cancel_that_lacks_the_connection_of_a_jump_host_says_so(
    box: BreakableTarget,
    patient: Workspace,
    caplog: pytest.LogCaptureFixture,
    *,
    is_connected: bool,
) -> None:
    # given
    record = box.submit(patient, "sleep 60")
    workspace = _CutWorkspace(patient) if is_connected else patient
    box.lose_jump_host()

    # when
    with pytest.raises(
        ConfigurationError, match=r"connection 'box': jump_host: .* 'gate'; make one of that name"
    ):
        following.cancel_from_task(workspace, record.run_id, is_killed_soon=True)

    # then
    assert f"mltrain cancel {record.run_id}" in caplog.text
    box.repair()
    assert progress.await_end(patient, record.run_id).status is RunStatus.CANCELED


def test_waiting_for_a_run_that_was_canceled_unheard_does_not_start_it(
    box: BreakableTarget, patient: Workspace, tmp_path: Path
) -> None:
    # given
    mark = tmp_path / "started"
    record = box.submit(patient, "true")
    progress.await_end(patient, record.run_id)
    patient.history.add(
        replace(
            patient.history.get(record.run_id),
            run_id="unheard",
            status=RunStatus.CANCEL_REQUESTED,
            is_started=False,
            config=box.config(f"touch {mark}").model_dump(mode="json"),
        )
    )

    # when
    details = Run.get(patient, "unheard").wait_for_completion()

    # then
    assert details["status"] == "Canceled"
    assert not mark.exists()
