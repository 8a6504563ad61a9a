"""The completion of a run: waiting for it in plain Python, and what it means for who waited."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from airflow_mltrain import progress, submission
from airflow_mltrain.config.exit_action import ExitAction
from airflow_mltrain.errors import RunCanceledError, RunFailedError
from airflow_mltrain.runs.exit_action import (
    CANCEL_PROPERTY,
    count_preemptions,
    exit_action,
    is_preempted,
    most_preemptions,
)
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.silence import UNANSWERED, Silence

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import RunRecord
    from airflow_mltrain.workspace import Workspace

_STEP_SECONDS = 1.0
_SHORT_STEP_SECONDS = 0.1

log = logging.getLogger(__name__)


def follow_to_completion(
    workspace: Workspace, run_id: str, deadline: float, show: Callable[[bytes], object]
) -> Iterator[RunRecord]:
    """Yield the run as it goes on, until it has ended or the deadline of `time.monotonic()`.

    A preempted run is started again: from then on it is that run, with another id. `show` gets
    the log, every byte once. A target or a history that does not answer is waited for, and may
    so yield nothing; UnreachableTimeoutError says that this took too long.
    """
    silence = Silence(run_id, workspace.settings.unreachable_limit(None), log.warning)
    step_seconds = _STEP_SECONDS if deadline == math.inf else _SHORT_STEP_SECONDS
    log_position = 0
    record = None
    while True:
        try:
            record = workspace.history.get(run_id)
            yield record
            _catch_up(workspace, record)
            for step in progress.follow(
                workspace, run_id, log_position=log_position, wait_seconds=step_seconds
            ):
                silence.end()
                record, log_position = step.record, step.log_position
                show(step.log)
                yield record
                if time.monotonic() >= deadline:
                    return
            if not is_preempted(record):
                return
            record = submission.go_on(workspace, record)
            run_id, log_position = record.run_id, 0
            yield record
        except UNANSWERED as error:
            pause_seconds = silence.note(error, record.target if record else None)
            time.sleep(max(0.0, min(pause_seconds, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                return


def _catch_up(workspace: Workspace, record: RunRecord) -> None:
    """Start or cancel the run if whoever asked for it did not get through."""
    if record.status is RunStatus.CANCEL_REQUESTED and not record.is_started:
        submission.cancel(workspace, record.run_id)
    else:
        submission.start(workspace, record)


def require_success(workspace: Workspace, record: RunRecord) -> None:
    """Raise RunFailedError or RunCanceledError, with cause and log end, for a run so ended."""
    if record.status is RunStatus.CANCELED:
        raise RunCanceledError(f"run {record.run_id} was canceled")
    if record.status is RunStatus.FAILED:
        if exit_action(record) is ExitAction.PREEMPTED and CANCEL_PROPERTY in record.properties:
            raise RunCanceledError(f"run {record.run_id} was canceled when it was preempted")
        end = progress.log_end(workspace, record.run_id)
        shown = f"\nThe end of its log:\n{end}" if end else ""
        raise RunFailedError(
            f"run {record.run_id} failed on {record.target}: {record.error}"
            f"{_why_it_ends(record)}{shown}",
            run_id=record.run_id,
            exit_code=record.exit_code,
        )


def _why_it_ends(record: RunRecord) -> str:
    if exit_action(record) is not ExitAction.PREEMPTED:
        return ""
    return (
        f"; that is a preemption, and the run went on {count_preemptions(record)} times, as often "
        f"as run_config.max_preemptions = {most_preemptions(record)} allows"
    )
