"""Bringing the run history to what the compute targets say, for runs that nobody watches."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from airflow_mltrain import submission
from airflow_mltrain.cancel_intent import is_cancel_meant
from airflow_mltrain.errors import MLTrainError, RunHistoryError
from airflow_mltrain.progress import refresh
from airflow_mltrain.runs.record import RunRecord, SubmissionKey
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import ListedJob
from airflow_mltrain.workspace import Workspace

# A run that was recorded so recently may have a submitter who is still at it.
_SUBMISSION_TIME: Final = timedelta(hours=1)

TaskStateOf = Callable[[SubmissionKey], str | None]


@dataclass(frozen=True)
class ReconciledRun:
    """An unfinished run as the history had it, and as it has it now."""

    before: RunRecord
    after: RunRecord
    fault: str | None = None  # why its target could not be asked
    is_abandoned: bool = False  # it goes on, and Airflow has given up the task it belongs to
    is_cancel_requested: bool = False  # as it is abandoned

    @property
    def is_unstarted(self) -> bool:
        """Whether its submitter seems to have died before its target got it."""
        is_old = datetime.now(timezone.utc) - self.after.created_at > _SUBMISSION_TIME
        return is_old and not (self.after.is_started or self.after.status.is_terminal)


@dataclass(frozen=True)
class OrphanJob:
    """A job on a target that this run history does not know."""

    target: str
    job: ListedJob


@dataclass(frozen=True)
class Reconciliation:
    """What was found, and what became of it."""

    runs: tuple[ReconciledRun, ...]
    orphans: tuple[OrphanJob, ...]
    silent_targets: tuple[tuple[str, str], ...]  # that could not list their jobs, and why


def reconcile(
    workspace: Workspace,
    targets: Collection[str] = (),
    *,
    task_state_of: TaskStateOf | None = None,
    cancel_abandoned: bool = False,
) -> Reconciliation:
    """Ask the targets about every unfinished run, and record what has become of it.

    Runs that have ended are finished: their log and outputs are fetched. May be repeated, and
    done while others watch the same runs. Jobs that the history does not know are listed, of
    `targets` and those of unfinished runs, and left alone: they may be another workspace's.

    `task_state_of` tells the state that Airflow has for the task instance of a submission. With
    `cancel_abandoned`, runs of tasks that were given up are canceled: Airflow tells nobody of a
    task that is marked failed in the moment before its trigger starts. Raises
    RunHistoryUnavailableError; a target that does not answer is a fault of its runs.
    """
    unfinished = workspace.history.list_unfinished()
    runs = tuple(
        _reconcile(workspace, record, task_state_of, cancel_abandoned=cancel_abandoned)
        for record in unfinished
    )
    orphans: list[OrphanJob] = []
    silent: list[tuple[str, str]] = []
    for name in dict.fromkeys([*targets, *(record.target for record in unfinished)]):
        try:
            orphans += find_orphans(workspace, name)
        except RunHistoryError:
            raise
        except MLTrainError as error:
            silent.append((name, str(error)))
    return Reconciliation(runs, tuple(orphans), tuple(silent))


def find_orphans(workspace: Workspace, target: str) -> list[OrphanJob]:
    """The jobs on a target that the run history does not know; raises TargetError."""
    jobs = workspace.get_target(target).list_jobs()
    known = workspace.history.find_many(job.run_id for job in jobs)
    return [OrphanJob(target, job) for job in jobs if job.run_id not in known]


def cancel_orphans(workspace: Workspace, target: str, run_ids: Iterable[str]) -> list[str]:
    """Have orphans of a target stopped; returns the ids that are none there, left as they are."""
    return _for_orphans(workspace, target, run_ids, workspace.get_target(target).cancel)


def discard_orphans(workspace: Workspace, target: str, run_ids: Iterable[str]) -> list[str]:
    """Remove every trace of orphans that have ended; returns the ids that are none there.

    Raises TargetError where one still runs: cancel it first.
    """
    return _for_orphans(workspace, target, run_ids, workspace.get_target(target).discard)


def _for_orphans(
    workspace: Workspace, target: str, run_ids: Iterable[str], work: Callable[[str], None]
) -> list[str]:
    orphans = {orphan.job.run_id for orphan in find_orphans(workspace, target)}
    others = []
    for run_id in run_ids:
        if run_id in orphans:
            work(run_id)
        else:
            others.append(run_id)
    return others


def _reconcile(
    workspace: Workspace,
    record: RunRecord,
    task_state_of: TaskStateOf | None,
    *,
    cancel_abandoned: bool,
) -> ReconciledRun:
    try:
        after = refresh(workspace, record.run_id)
        is_abandoned = _is_abandoned(after, task_state_of)
        is_canceled = is_abandoned and cancel_abandoned
        if is_canceled:
            after = submission.cancel(workspace, record.run_id)
    except RunHistoryError:
        raise
    except MLTrainError as error:
        return ReconciledRun(record, record, fault=str(error))
    return ReconciledRun(record, after, is_abandoned=is_abandoned, is_cancel_requested=is_canceled)


def _is_abandoned(record: RunRecord, task_state_of: TaskStateOf | None) -> bool:
    if task_state_of is None or record.submission is None or record.status.is_terminal:
        return False
    if record.status is RunStatus.CANCEL_REQUESTED:
        return False
    # As for a task that only waits: one that submitted and succeeded leaves its run to others.
    return is_cancel_meant(task_state_of(record.submission), is_owner=False)
