"""The life of a run: submit, follow, finish, cancel.

Every step may be repeated, by any process: the run id is in the run history before its target
hears of it, and starting is create-if-absent there. Whoever comes back adopts the run.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from uuid import uuid4

from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.environments.plan import EnvironmentPlan, plan_environment
from airflow_mltrain.errors import ConfigurationError, JobStartError, TargetUnreachableError
from airflow_mltrain.runs.metric_line import parse_metric_lines
from airflow_mltrain.runs.record import RunRecord, SubmissionKey
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.snapshots.git import start_git_annotation
from airflow_mltrain.snapshots.manifest import Manifest
from airflow_mltrain.snapshots.snapshot import take_snapshot
from airflow_mltrain.targets.base import ComputeTarget, Job, JobState, Seen
from airflow_mltrain.workspace import Workspace

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1024 * 1024
_BEHIND_ANY_LOG = 2**40
_PARTIAL_LINE_SECONDS = 0.1
_EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_PLACE = "mltrain.place"


@dataclass(frozen=True)
class Occasion:
    """Who asks for a run, so that a retry adopts it and a deliberate repetition does not.

    `token` is the same for every retry of the submission, and another one when a person asks for it
    again.
    """

    key: SubmissionKey
    token: str


@dataclass(frozen=True)
class Progress:
    """One step of following a run: the record as it stands, and the log bytes that came with it."""

    record: RunRecord
    log: bytes
    log_position: int  # behind those bytes


def submit(
    workspace: Workspace,
    experiment: str,
    config: ScriptRunConfig,
    occasion: Occasion | None = None,
) -> RunRecord:
    """Start a run in the background, or adopt the one that this occasion started before.

    A run that failed or was canceled is not adopted: asking again is a new generation. Bad input is
    refused, with ConfigurationError or SnapshotError, before anything is recorded or started.
    """
    prior = workspace.history.find_latest(occasion.key) if occasion else None
    if prior is not None and occasion is not None and _is_adoptable(prior, occasion):
        return start(workspace, prior)
    if prior is not None and not prior.status.is_terminal:
        log.info("run %s belongs to an earlier occasion and is canceled", prior.run_id)
        cancel(workspace, prior.run_id)
        await_end(workspace, prior.run_id)
    generation = prior.generation + 1 if prior else 1
    return start(workspace, _record(workspace, experiment, config, occasion, generation))


def start(workspace: Workspace, record: RunRecord) -> RunRecord:
    """Hand a recorded run to its target; nothing if the target is known to have it."""
    if record.is_started or record.status.is_terminal:
        return record
    target = workspace.get_target(record.target)
    _require_place(target, record)
    manifest_path = workspace.artifacts.blobs.path(record.snapshot_id)
    manifest = Manifest.decode(manifest_path.read_bytes())
    blobs = {entry.sha256 for entry in manifest.entries if entry.sha256 is not None}
    missing = target.missing({record.snapshot_id, *blobs})
    target.upload({digest: workspace.artifacts.blobs.path(digest) for digest in missing})
    try:
        target.start(_job(workspace, record))
    except JobStartError as error:
        workspace.history.advance(record.run_id, RunStatus.FAILED, error=str(error))
        raise
    return workspace.history.advance(record.run_id, RunStatus.PREPARING, is_started=True)


def follow(
    workspace: Workspace, run_id: str, *, log_position: int = 0, wait_seconds: float = 1.0
) -> Iterator[Progress]:
    """Yield what happens to a run until it has ended and its artifacts are kept.

    The log comes whole and in order from `log_position` on. Each step takes at most about
    `wait_seconds`; breaking off between two steps loses nothing. Raises TargetUnreachableError,
    RunHistoryUnavailableError or ArtifactError; following again then goes on.
    """
    record = workspace.history.get(run_id)
    if not record.status.is_terminal:
        target = workspace.get_target(record.target)
        seen = Seen(record.status, log_position, record.metrics_position)
        while True:
            state = target.observe({run_id: seen}, wait_seconds).get(run_id)
            record = take_in(workspace, record, target, state)
            if state is None:
                if record.status.is_terminal:
                    break
                time.sleep(wait_seconds)  # recorded, not started yet
                yield Progress(record, b"", log_position)
                continue
            log_position += len(state.log)
            before, seen = seen, Seen(state.status, log_position, record.metrics_position)
            if seen == before and state.metrics:
                time.sleep(_PARTIAL_LINE_SECONDS)  # half a line is news that nobody can use yet
            if state.status.is_terminal and has_all(seen, state):
                record = finish(workspace, record, target, state)
                yield Progress(record, state.log, log_position)
                return
            yield Progress(record, state.log, log_position)
    yield from _follow_kept_log(workspace, record, log_position)


def refresh(workspace: Workspace, run_id: str) -> RunRecord:
    """The run as its target knows it now, finished if it has ended; the log is left unread."""
    record = None
    for progress in follow(workspace, run_id, log_position=_BEHIND_ANY_LOG, wait_seconds=0.0):
        if progress.record == record:
            break
        record = progress.record
    return record or workspace.history.get(run_id)


def await_end(
    workspace: Workspace, run_id: str, *, timeout_seconds: float | None = None
) -> RunRecord:
    """Follow a run to its end, at the longest for `timeout_seconds`, without reading its log."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    record = workspace.history.get(run_id)
    following = follow(workspace, run_id, log_position=_BEHIND_ANY_LOG, wait_seconds=0.5)
    for progress in following:
        record = progress.record
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
        if record.is_started and not record.status.is_terminal:
            _require_place(target, record)
            return history.advance(
                record.run_id,
                RunStatus.FAILED,
                error=f"compute target {record.target!r} has lost the run: its folder is gone",
            )
        return record
    if state.metrics:
        record = _take_in_metrics(workspace, record, state)
    status = RunStatus.FINALIZING if state.status.is_terminal else state.status
    if status is not record.status or not record.is_started:
        record = history.advance(
            record.run_id, status, is_started=True, started_at=state.started_at
        )
    return record


def has_all(seen: Seen, state: JobState) -> bool:
    """Whether nothing of an ended job's log and metrics is left to see."""
    return seen.log >= (state.log_bytes or 0) and seen.metrics >= (state.metrics_bytes or 0)


def finish(
    workspace: Workspace, record: RunRecord, target: ComputeTarget, state: JobState
) -> RunRecord:
    """Keep an ended job's log and outputs, then record its end; whoever comes second does nothing."""
    if record.status.is_terminal:
        return record
    if not workspace.artifacts.run_folder(record.run_id).exists():
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
    )


def cancel(workspace: Workspace, run_id: str) -> RunRecord:
    """Ask for the end of a run and all it started; follow it to see it gone.

    Nothing if it has ended. A run that its target never got is Canceled at once.
    """
    record = workspace.history.advance(run_id, RunStatus.CANCEL_REQUESTED)
    if record.status.is_terminal:
        return record
    target = workspace.get_target(record.target)
    _require_place(target, record)
    target.cancel(run_id)
    if not target.observe({run_id: Seen()}, 0):
        # The mark that cancel left on the target keeps a submitter who is still at it from starting.
        return workspace.history.advance(run_id, RunStatus.CANCELED, ended_at=_now())
    return record


def log_end(workspace: Workspace, run_id: str, max_bytes: int = 4000) -> str:
    """The last lines of an ended run's log, for an error message."""
    path = workspace.artifacts.run_folder(run_id) / "log"
    if not path.exists():
        return ""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - max_bytes))
        text = file.read().decode(errors="replace")
    if size > max_bytes:
        text = text.partition("\n")[2] or text
    return text.rstrip()


def _is_adoptable(prior: RunRecord, occasion: Occasion) -> bool:
    if prior.occasion != occasion.token:
        return False
    return prior.status not in (RunStatus.FAILED, RunStatus.CANCELED)


def _record(
    workspace: Workspace,
    experiment: str,
    config: ScriptRunConfig,
    occasion: Occasion | None,
    generation: int,
) -> RunRecord:
    if not _EXPERIMENT_NAME.fullmatch(experiment):
        raise ConfigurationError(
            f"experiment {experiment!r}: a name has 1 to 128 letters, digits, '-' and '_', and "
            "starts with a letter or a digit"
        )
    config = config.model_copy(deep=True)
    environment = config.run_config.environment
    if isinstance(environment, str):
        config.run_config.environment = workspace.get_environment(environment)
    _plan(config)
    config.check()
    if config.run_config.framework != "Python":
        raise ConfigurationError(
            f"run_config.framework = {config.run_config.framework!r}: compute target "
            f"{config.run_config.target!r} runs 'Python'"
        )
    target = workspace.get_target(config.run_config.target)
    source = Path(config.source_directory).absolute()
    annotation = start_git_annotation(source)
    snapshot = take_snapshot(
        source,
        workspace.artifacts.blobs,
        index_directory=workspace.artifacts.snapshot_indexes,
        max_bytes=workspace.settings.snapshot_max_megabytes * 1_000_000,
    )
    properties = {_PLACE: target.place}
    if annotation is not None:
        git = annotation.collect()
        properties.update(git.properties)
        if git.diff:
            properties["mltrain.git_diff"] = workspace.artifacts.blobs.put_bytes(git.diff)
    now = _now()
    return workspace.history.add(
        RunRecord(
            run_id=f"{experiment}_{int(now.timestamp())}_{uuid4().hex[:8]}",
            experiment=experiment,
            target=config.run_config.target,
            snapshot_id=snapshot.snapshot_id,
            config=config.model_dump(mode="json"),
            created_at=now,
            submission=occasion.key if occasion else None,
            generation=generation,
            occasion=occasion.token if occasion else None,
            tags=config.tags,
            properties=properties,
        )
    )


def _plan(config: ScriptRunConfig) -> EnvironmentPlan:
    environment = config.run_config.environment
    assert not isinstance(environment, str)
    return plan_environment(environment, default_interpreter=sys.executable)


def _job(workspace: Workspace, record: RunRecord) -> Job:
    config = ScriptRunConfig.model_validate(record.config)
    plan = _plan(config)
    return Job(
        run_id=record.run_id,
        snapshot_id=record.snapshot_id,
        argv=tuple(config.argv(plan.interpreter)),
        environment_variables={
            **plan.environment_variables,
            **config.run_config.environment_variables,
        },
        max_run_duration_seconds=config.run_config.max_run_duration_seconds,
        cancel_grace_seconds=workspace.settings.cancel_grace_seconds,
    )


def _require_place(target: ComputeTarget, record: RunRecord) -> None:
    place = record.properties.get(_PLACE)
    if place is not None and place != target.place:
        raise TargetUnreachableError(
            f"run {record.run_id} is on another machine, or below another root folder, than what "
            f"compute target {record.target!r} means here; follow it from where it was submitted"
        )


def _take_in_metrics(workspace: Workspace, record: RunRecord, state: JobState) -> RunRecord:
    position = record.metrics_position
    is_complete = state.metrics_bytes == position + len(state.metrics)
    lines = parse_metric_lines(state.metrics, is_complete=is_complete)
    if lines.tags:
        workspace.history.annotate(record.run_id, tags=lines.tags)
    if lines.length:
        is_mine = workspace.history.add_metrics(
            record.run_id,
            lines.points,
            position=position,
            next_position=position + lines.length,
        )
        if not is_mine:  # another follower was faster
            return workspace.history.get(record.run_id)
    return replace(record, metrics_position=position + lines.length)


def _follow_kept_log(
    workspace: Workspace, record: RunRecord, log_position: int
) -> Iterator[Progress]:
    path = workspace.artifacts.run_folder(record.run_id) / "log"
    if path.exists():
        with path.open("rb") as file:
            file.seek(log_position)
            while chunk := file.read(_CHUNK_BYTES):
                log_position += len(chunk)
                yield Progress(record, chunk, log_position)
    yield Progress(record, b"", log_position)


def _now() -> datetime:
    return datetime.now(timezone.utc)
