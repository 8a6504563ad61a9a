from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from airflow_mltrain import ScriptRunConfig, Workspace, submission
from airflow_mltrain.errors import TargetError
from airflow_mltrain.reconciliation import (
    Reconciliation,
    cancel_orphans,
    discard_orphans,
    reconcile,
)
from airflow_mltrain.recording import Occasion
from airflow_mltrain.runs.record import RunRecord, SubmissionKey
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from tests.services.artifacts import folder_store
from tests.services.jobs import wait_for, wait_until_ended

_KEY = SubmissionKey("retrain", "scheduled", "train")
_SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def stranger(settings: Settings, tmp_path: Path) -> Workspace:
    """A workspace with a history of its own, that uses the same target."""
    return Workspace(replace(settings, database_url=f"sqlite:///{tmp_path}/other.db"))


def submit(workspace: Workspace, script: str, key: SubmissionKey | None = None) -> RunRecord:
    """Submit a run, and go away."""
    project = Path(str(workspace.settings.artifacts)).parent / "project"
    project.mkdir(exist_ok=True)
    (project / "train.py").write_text(script)
    occasion = None if key is None else Occasion(key, "once")
    return submission.submit(workspace, "churn", ScriptRunConfig(project, "train.py"), occasion)


def await_job(workspace: Workspace, run_id: str) -> None:
    wait_until_ended(workspace.get_target("local"), run_id)


def of(found: Reconciliation, run_id: str) -> RunStatus:
    [run] = [run for run in found.runs if run.after.run_id == run_id]
    return run.after.status


def test_runs_that_ended_unwatched_are_finished_and_others_go_on(workspace: Workspace) -> None:
    # given
    good = submit(workspace, "import mltrain; mltrain.Run.get_context().log('loss', 1)")
    bad = submit(workspace, "raise SystemExit(3)")
    live = submit(workspace, _SLEEP)
    for record in (good, bad):
        await_job(workspace, record.run_id)

    # when
    found = reconcile(workspace)

    # then
    assert of(found, good.run_id) is RunStatus.COMPLETED
    assert of(found, bad.run_id) is RunStatus.FAILED
    assert of(found, live.run_id) in (RunStatus.PREPARING, RunStatus.RUNNING)
    assert workspace.history.get(bad.run_id).exit_code == 3
    [point] = workspace.history.get_metrics(good.run_id)
    assert point.value == 1
    assert (folder_store(workspace).run_folder(good.run_id) / "log").exists()
    assert [run.before.run_id for run in reconcile(workspace).runs] == [live.run_id]
    submission.cancel(workspace, live.run_id)
    await_job(workspace, live.run_id)


def test_orphans_are_listed_and_touched_only_when_named(
    workspace: Workspace, stranger: Workspace
) -> None:
    # given
    orphan = submit(stranger, _SLEEP)
    own = submit(workspace, _SLEEP)
    target = workspace.get_target("local")
    wait_for(lambda: all(job.status is RunStatus.RUNNING for job in target.list_jobs()))

    # when
    found = reconcile(workspace)

    # then
    [listed] = found.orphans
    assert (listed.target, listed.job.run_id) == ("local", orphan.run_id)
    assert listed.job.status is RunStatus.RUNNING
    assert {job.status for job in target.list_jobs()} == {RunStatus.RUNNING}

    with pytest.raises(TargetError, match="cancel it first"):
        discard_orphans(workspace, "local", [orphan.run_id])
    assert cancel_orphans(workspace, "local", [orphan.run_id, own.run_id]) == [own.run_id]
    await_job(stranger, orphan.run_id)
    assert workspace.history.get(own.run_id).status is not RunStatus.CANCEL_REQUESTED
    assert discard_orphans(workspace, "local", [orphan.run_id]) == []
    assert {job.run_id for job in target.list_jobs()} == {own.run_id}

    submission.cancel(workspace, own.run_id)
    await_job(workspace, own.run_id)


def test_a_run_whose_task_was_given_up_is_canceled_if_asked_for(workspace: Workspace) -> None:
    # given
    record = submit(workspace, _SLEEP, _KEY)
    states = {_KEY: "failed"}

    # when
    told = reconcile(workspace, task_state_of=states.get)
    left = workspace.history.get(record.run_id).status
    reconcile(workspace, task_state_of=states.get, cancel_abandoned=True)
    await_job(workspace, record.run_id)
    ended = reconcile(workspace, task_state_of=states.get, cancel_abandoned=True)

    # then
    [run] = told.runs
    assert (run.is_abandoned, run.is_cancel_requested) == (True, False)
    assert left in (RunStatus.PREPARING, RunStatus.RUNNING)
    assert of(ended, record.run_id) is RunStatus.CANCELED


@pytest.mark.parametrize("state", ["running", "deferred", "up_for_retry", "success", None])
def test_a_run_whose_task_may_come_back_or_left_it_to_others_goes_on(
    workspace: Workspace, state: str | None
) -> None:
    # given
    record = submit(workspace, _SLEEP, _KEY)

    # when
    found = reconcile(workspace, task_state_of=lambda _: state, cancel_abandoned=True)

    # then
    [run] = found.runs
    assert not run.is_abandoned
    assert run.after.status is not RunStatus.CANCEL_REQUESTED
    submission.cancel(workspace, record.run_id)
    await_job(workspace, record.run_id)


def test_a_run_that_never_reached_its_target_is_named_and_left(workspace: Workspace) -> None:
    # given
    ended = submit(workspace, "pass")
    await_job(workspace, ended.run_id)
    old = datetime.now(timezone.utc) - timedelta(hours=2)
    dead = replace(ended, run_id="churn_1_dead", created_at=old, is_started=False)
    workspace.history.add(replace(dead, status=RunStatus.NOT_STARTED))

    # when
    found = reconcile(workspace)

    # then
    unstarted = {run.after.run_id for run in found.runs if run.is_unstarted}
    assert unstarted == {"churn_1_dead"}
    assert workspace.history.get("churn_1_dead").status is RunStatus.NOT_STARTED


def test_a_target_that_does_not_answer_keeps_nobody_else_from_being_asked(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setenv("AIRFLOW_CONN_FAR", "ssh://nobody@127.0.0.1:1")
    ended = submit(workspace, "pass")
    await_job(workspace, ended.run_id)
    away = replace(ended, run_id="churn_1_away", target="far", is_started=True)
    workspace.history.add(replace(away, status=RunStatus.RUNNING))

    # when
    found = reconcile(workspace)

    # then
    assert of(found, ended.run_id) is RunStatus.COMPLETED
    [silent] = [run for run in found.runs if run.fault]
    assert silent.after.run_id == "churn_1_away"
    assert silent.after.status is RunStatus.RUNNING
    assert [name for name, _ in found.silent_targets] == ["far"]
