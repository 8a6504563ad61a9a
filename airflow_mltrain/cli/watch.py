"""Watching a run from a terminal, to its end or until one has had enough."""

from __future__ import annotations

import time

from airflow_mltrain import progress, submission
from airflow_mltrain.cli.screen import Screen, describe_end
from airflow_mltrain.runs.exit_action import is_preempted
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.silence import UNANSWERED, Silence
from airflow_mltrain.workspace import Workspace

_STEP_SECONDS = 1.0


def watch(
    workspace: Workspace,
    run_id: str,
    screen: Screen,
    *,
    is_log_shown: bool = True,
    goes_on: bool = False,
) -> RunRecord:
    """Show a run until it has ended: how it stands, and the log that was not shown yet.

    With `goes_on` a preempted run is started again, and shown to its end. A target or a history
    that does not answer is waited for, until UnreachableTimeoutError.
    """
    silence = Silence(run_id, workspace.settings.unreachable_limit(None), screen.warn)
    record: RunRecord | None = None
    while True:
        position = screen.log_position if is_log_shown else progress.BEHIND_ANY_LOG
        try:
            record = workspace.history.get(run_id)
            if record.status is RunStatus.CANCEL_REQUESTED and not record.is_started:
                submission.cancel(workspace, run_id)  # whoever asked may not have got through
            elif goes_on:
                submission.start(workspace, record)
            for step in progress.follow(
                workspace, run_id, log_position=position, wait_seconds=_STEP_SECONDS
            ):
                silence.end()
                record = step.record
                if step.log:
                    screen.show_log(step.log)
                    screen.log_position = step.log_position
                screen.show_status(record)
            if goes_on and is_preempted(record):
                run_id, screen.log_position = submission.go_on(workspace, record).run_id, 0
                screen.say(describe_end(record))
                screen.say(f"it was preempted, and goes on as run {run_id}")
                continue
        except UNANSWERED as error:
            time.sleep(silence.note(error, record.target if record else None))
        else:
            screen.end()
            return record


def cancel_and_watch(
    workspace: Workspace, run_id: str, screen: Screen, *, is_log_shown: bool = True
) -> RunRecord:
    """Ask for a run's end and see it gone; an interrupt leaves it to end by itself."""
    submission.cancel(workspace, run_id)
    return watch(workspace, run_id, screen, is_log_shown=is_log_shown)
