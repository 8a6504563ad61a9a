"""The progress of a run: follow it, bring the run history up to date, keep what it left."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from dataclasses import replace
from datetime import datetime, timezone
from typing import NamedTuple

from airflow_mltrain.errors import ArtifactError, TargetUnreachableError
from airflow_mltrain.runs.exit_action import LIMIT_PROPERTY
from airflow_mltrain.runs.metric_line import parse_metric_lines
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import ComputeTarget, JobState, Seen
from airflow_mltrain.workspace import Workspace

log = logging.getLogger(__name__)

PLACE_PROPERTY = "mltrain.place"
_CHUNK_BYTES = 1024 * 1024
BEHIND_ANY_LOG = 2**40
_PARTIAL_LINE_SECONDS = 0.1
_LOSS_SECONDS = 5.0
_LOOKS_IN_VAIN = 2
_SHORT = (
    "run %s: its target gives %d of the %d bytes of its log, and %d of the %d of its metrics, "
    "that were there when it ended; the rest is lost"
)
_WORKING = (RunStatus.PREPARING, RunStatus.QUEUED, RunStatus.RUNNING)


class Progress(NamedTuple):
    """One step of following a run: the record as it stands, and the log bytes that came."""

    record: RunRecord
    log: bytes
    log_position: int  # behind those bytes


def follow(
    workspace: Workspace, run_id: str, *, log_position: int = 0, wait_seconds: float = 1.0
) -> Generator[Progress]:
    """Yield what happens to a run until it has ended and its artifacts are kept.

    The log comes whole and in order from `log_position` on. Each step takes at most about
    `wait_seconds`; breaking off between two steps loses nothing. What was cut off the log or the
    metrics after the end is missed, with a warning. Raises TargetUnreachableError,
    RunHistoryUnavailableError or ArtifactError; following again then goes on.
    """
    record = workspace.history.get(run_id)
    if record.parent_run_id is not None:
        yield from _follow_child(workspace, record, log_position, wait_seconds)
        return
    if not record.status.is_terminal:
        target = workspace.get_target(record.target)
        seen = seen_of(record, log_position)
        shortfall = _Shortfall(run_id, wait_seconds)
        while True:
            state = target.observe({run_id: seen}, wait_seconds).get(run_id)
            record = take_in(workspace, record, target, state)
            if state is None:
                if record.status.is_terminal:
                    break
                seen = seen_of(record, log_position)
                time.sleep(wait_seconds)  # recorded, not started yet
                yield Progress(record, b"", log_position)
                continue
            log_position += len(state.log)
            before, seen = seen, seen_of(record, log_position)._replace(status=state.status)
            if seen == before and state.metrics:
                time.sleep(_PARTIAL_LINE_SECONDS)  # half a line is news that nobody can use yet
            if state.status.is_terminal and shortfall.is_over(before, seen, state):
                record = finish(workspace, record, target, state)
                yield Progress(record, state.log, log_position)
                return
            yield Progress(record, state.log, log_position)
    yield from _follow_kept_log(workspace, record, log_position)


class _Shortfall:
    """Tells an ended job that has more to show from one whose files were cut after its end."""

    def __init__(self, run_id: str, wait_seconds: float) -> None:
        self._run_id = run_id
        self._wait_seconds = wait_seconds
        self._looks_in_vain = 0

    def is_over(self, before: Seen, seen: Seen, state: JobState) -> bool:
        """Whether there is no more to come, after a look that led from `before` to `seen`."""
        if has_all(seen, state):
            return True
        if (seen.log, seen.metrics) != (before.log, before.metrics):
            self._looks_in_vain = 0
            return False
        self._looks_in_vain += 1
        if self._looks_in_vain < _LOOKS_IN_VAIN:
            time.sleep(self._wait_seconds)  # a shared disk may tell late of what was written
            return False
        log_bytes, metrics_bytes = state.log_bytes or 0, state.metrics_bytes or 0
        read = min(seen.log, log_bytes)
        log.warning(_SHORT, self._run_id, read, log_bytes, seen.metrics, metrics_bytes)
        return True


def _follow_child(
    workspace: Workspace, record: RunRecord, log_position: int, wait_seconds: float
) -> Generator[Progress]:
    """What becomes of a child is news of the run that was submitted; its log is a file of that."""
    yield Progress(record, b"", log_position)
    submitted = workspace.history.find_submitted(record.run_id)
    if not record.status.is_terminal:
        for _ in follow(
            workspace, submitted.run_id, log_position=BEHIND_ANY_LOG, wait_seconds=wait_seconds
        ):
            record = workspace.history.get(record.run_id)
            yield Progress(record, b"", log_position)
            if record.status.is_terminal:
                return


def refresh(workspace: Workspace, run_id: str) -> RunRecord:
    """The run as its target knows it now, finished if it has ended; the log is left unread."""
    record = None
    for step in follow(workspace, run_id, log_position=BEHIND_ANY_LOG, wait_seconds=0.0):
        if step.record == record:
            break
        record = step.record
    return record or workspace.history.get(run_id)


def await_end(
    workspace: Workspace, run_id: str, *, timeout_seconds: float | None = None
) -> RunRecord:
    """Follow a run to its end, at the longest for `timeout_seconds`, without reading its log."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    record = workspace.history.get(run_id)
    following = follow(workspace, run_id, log_position=BEHIND_ANY_LOG, wait_seconds=0.5)
    for step in following:
        record = step.record
        if deadline is not None and time.monotonic() >= deadline:
            break
    return record


def take_in(
    workspace: Workspace, record: RunRecord, target: ComputeTarget, state: JobState | None
) -> RunRecord:
    """Bring the run history to what the target saw; an end stays Finalizing until `finish`."""
    history = workspace.history
    if state is None:
        record = history.get(record.run_id)
        is_child = record.parent_run_id is not None  # no job of a target's, but part of one
        if record.is_started and not record.status.is_terminal and not is_child:
            require_place(target, record)
            return _confirm_loss(workspace, record, target)
        return record
    if state.metrics:
        record = _take_in_metrics(workspace, record, state)
    if record.status is RunStatus.CANCEL_REQUESTED and state.status in _WORKING:
        target.cancel(record.run_id)  # whoever asked for it may not have got through
    if state.environment is not None and record.environment_key is None:
        history.keep_resolved(record.run_id, state.environment)
        record = replace(record, environment_key=state.environment["key"])
    status = RunStatus.FINALIZING if state.status.is_terminal else state.status
    if status is not record.status or not record.is_started:
        record = history.advance(
            record.run_id, status, is_started=True, started_at=state.started_at
        )
    return record


def seen_of(record: RunRecord, log_position: int) -> Seen:
    """What the run history knows of a run, for an observer who has read so much of its log."""
    return Seen(record.status, log_position, record.metrics_position, record.environment_key)


def has_all(seen: Seen, state: JobState) -> bool:
    """Whether nothing of an ended job's log and metrics is left to see."""
    return seen.log >= (state.log_bytes or 0) and seen.metrics >= (state.metrics_bytes or 0)


def finish(
    workspace: Workspace, record: RunRecord, target: ComputeTarget, state: JobState
) -> RunRecord:
    """Keep an ended job's log and outputs, then record its end; a second time does nothing."""
    if record.status.is_terminal:
        return record
    if workspace.artifacts.find_run(record.run_id) is None:
        with workspace.artifacts.keep_run(record.run_id) as folder:
            left_behind = target.fetch(record.run_id, folder)
            (folder / "outputs").mkdir(exist_ok=True)
        if left_behind:
            names = ", ".join(left_behind[:20])
            log.warning("run %s: not kept, as they are no plain files: %s", record.run_id, names)
            workspace.history.annotate(
                record.run_id, properties={"mltrain.outputs_left_behind": names}
            )
    return workspace.history.advance(
        record.run_id,
        state.status,
        started_at=state.started_at,
        ended_at=state.ended_at,
        exit_code=state.exit_code,
        error=state.reason,
        properties=None if state.limit is None else {LIMIT_PROPERTY: state.limit},
    )


def log_end(workspace: Workspace, run_id: str, max_bytes: int = 4000) -> str:
    """The last lines of an ended run's log, for an error message; none if it cannot be read."""
    try:
        kept = workspace.artifacts.find_run(run_id)
        size = None if kept is None else kept.size("log")
        if kept is None or size is None:
            return ""
        text = kept.read("log", max(0, size - max_bytes)).decode(errors="replace")
    except ArtifactError as error:
        log.warning("the end of the log of run %s cannot be shown: %s", run_id, error)
        return ""
    if size > max_bytes:
        text = text.partition("\n")[2] or text
    return text.rstrip()


def require_place(target: ComputeTarget, record: RunRecord) -> None:
    """Raise TargetUnreachableError where the target's name means another place than the run's."""
    place = record.properties.get(PLACE_PROPERTY)
    if place is not None and place != target.place:
        raise TargetUnreachableError(
            f"run {record.run_id} is on another machine, or below another root folder, than what "
            f"compute target {record.target!r} means here; follow it from where it was submitted"
        )


def _confirm_loss(workspace: Workspace, record: RunRecord, target: ComputeTarget) -> RunRecord:
    """Record a run as lost that its target misses for long; a live job restores its state."""
    deadline = time.monotonic() + _LOSS_SECONDS
    while time.monotonic() < deadline:
        if target.observe({record.run_id: Seen()}, 0.0):
            return record
        time.sleep(_LOSS_SECONDS / 10)
    target.cancel(record.run_id)  # should it live after all, it must not go on unseen
    return workspace.history.advance(
        record.run_id,
        RunStatus.FAILED,
        error=f"compute target {record.target!r} has lost the run: its folder is gone",
        ended_at=datetime.now(timezone.utc),
    )


def _take_in_metrics(workspace: Workspace, record: RunRecord, state: JobState) -> RunRecord:
    position = record.metrics_position
    is_complete = state.metrics_bytes == position + len(state.metrics)
    lines = parse_metric_lines(state.metrics, is_complete=is_complete)
    if lines.length:
        is_mine = workspace.history.take_in(
            record.run_id, lines.runs, position=position, next_position=position + lines.length
        )
        if not is_mine or lines.own.is_more_than_points:  # another follower was faster
            return workspace.history.get(record.run_id)
    return replace(record, metrics_position=position + lines.length)


def _follow_kept_log(
    workspace: Workspace, record: RunRecord, log_position: int
) -> Generator[Progress]:
    kept = workspace.artifacts.find_run(record.run_id) if log_position < BEHIND_ANY_LOG else None
    size = None if kept is None else kept.size("log")
    while kept is not None and size is not None and log_position < size:
        chunk = kept.read("log", log_position, _CHUNK_BYTES)
        if not chunk:
            break
        log_position += len(chunk)
        yield Progress(record, chunk, log_position)
    yield Progress(record, b"", log_position)
