"""How a run begins, and how it is asked to end.

Every step may be repeated, by any process: the run id is in the run history before its target
hears of it, and starting is create-if-absent there. Whoever comes back adopts the run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timezone

from airflow_mltrain.airflow_secret import look_up_secrets
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.exit_action import ExitAction
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.errors import ConfigurationError, JobStartError
from airflow_mltrain.job_request import plan_for, request_job
from airflow_mltrain.preemption import find_last, note_cancel, record_successor
from airflow_mltrain.preparation import NOBODY, Onlooker, RunPreparation
from airflow_mltrain.previous_outputs import bring_along
from airflow_mltrain.progress import await_end, require_place
from airflow_mltrain.recording import Occasion, record_run
from airflow_mltrain.runs.exit_action import (
    CANCEL_PROPERTY,
    exit_action,
    is_preempted,
    successor_id,
)
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.snapshots.blobs import Blobs
from airflow_mltrain.snapshots.manifest import Manifest
from airflow_mltrain.targets.base import ComputeTarget, Job, PreparationGivenUpError, Seen
from airflow_mltrain.workspace import Workspace

log = logging.getLogger(__name__)

_UPLOADS = 3  # the code, what it goes on from, and somebody may have pruned meanwhile


def submit(
    workspace: Workspace,
    experiment: str,
    config: ScriptRunConfig,
    occasion: Occasion | None = None,
    environment: Environment | str | None = None,
    onlooker: Onlooker = NOBODY,
) -> RunRecord:
    """Start a run in the background, or adopt the one that this occasion started before.

    `environment` is the one that a rendered or stored config was made of, where that is at hand:
    it may know credentials of package indexes, which are in no dump and no history.

    A run that failed or was canceled is not adopted: asking again is a new generation. One that
    failed for good by its exit code policy is, and a preempted one goes on. Bad input
    is refused, with ConfigurationError or SnapshotError, before anything is recorded or started.
    With TargetUnreachableError the run is recorded, and submitting or waiting again starts it.
    """
    target = workspace.get_target(config.run_config.target)  # a remote one is called up by this
    prior = workspace.history.find_latest(occasion.key) if occasion else None
    if prior is not None and occasion is not None and prior.occasion == occasion.token:
        while is_preempted(prior):  # whoever saw that may have been killed
            prior = go_on(workspace, prior)
    asking = (config.run_config.environment, environment)
    if prior is not None and occasion is not None and _is_adoptable(prior, occasion):
        return start(workspace, prior, asking, onlooker)
    while True:
        if prior is not None and not prior.status.is_terminal:
            log.info("run %s belongs to an earlier occasion and is canceled", prior.run_id)
            cancel(workspace, prior.run_id)
            prior = await_end(workspace, prior.run_id)
        secrets = look_up_secrets(config.run_config.environment_variables)
        with workspace.artifacts.used():
            record = record_run(workspace, target, experiment, config, occasion, prior)
        if occasion is None or record.occasion == occasion.token:
            return _start(workspace, target, record, asking, onlooker, secrets)
        prior = record  # in which a preempted one went on meanwhile, for who waits for that


def start(
    workspace: Workspace,
    record: RunRecord,
    asking: Iterable[Environment | str | None] = (),
    onlooker: Onlooker = NOBODY,
) -> RunRecord:
    """Hand a recorded run to its target; nothing if the target is known to have it.

    Secrets are looked up anew. Credentials for its package indexes are those its environment
    refers to, and those that the environments of whoever is `asking` were given. Where an image
    has to be pulled or built this takes long; the run is returned as it is if it was canceled
    meanwhile, or the onlooker had enough, and may be started again.
    """
    if record.is_started or record.status.is_terminal:
        return record
    target = workspace.get_target(record.target)
    require_place(target, record)
    return _start(workspace, target, record, asking, onlooker)


def _start(
    workspace: Workspace,
    target: ComputeTarget,
    record: RunRecord,
    asking: Iterable[Environment | str | None],
    onlooker: Onlooker,
    secrets: Mapping[str, str] | None = None,
) -> RunRecord:
    config = ScriptRunConfig.model_validate(record.config)
    plan = plan_for(config, target, target.interpreter)
    limit_seconds = config.run_config.prepare_timeout_seconds
    preparation = RunPreparation(workspace, record.run_id, onlooker, limit_seconds)
    try:
        job = request_job(workspace, target, record, config, plan, asking)
        if secrets is None:
            secrets = look_up_secrets(config.run_config.environment_variables)
        job = replace(job, secret_variables=secrets)
    except ConfigurationError as error:
        # A variable that was set where the run was recorded, and is not where it is taken up.
        return _give_up(workspace, target, record, preparation, error)
    try:
        facts = target.prepare(job, preparation)
        _hand_over(workspace, target, replace(job, first_log=preparation.log))
    except PreparationGivenUpError:
        if not preparation.is_late:
            return workspace.history.get(record.run_id)
        words = f"its preparation took longer than prepare_timeout_seconds = {limit_seconds}"
        return _fail(workspace, record, preparation, JobStartError(words))
    except JobStartError as error:
        return _fail(workspace, record, preparation, error)
    onlooker.note_shown(record.run_id, len(preparation.log))
    return workspace.history.advance(
        record.run_id, RunStatus.PREPARING, is_started=True, properties=facts
    )


def _give_up(
    workspace: Workspace,
    target: ComputeTarget,
    record: RunRecord,
    preparation: RunPreparation,
    error: ConfigurationError,
) -> RunRecord:
    """Record that a run cannot be started from here, unless its target has it already."""
    seen = {record.run_id: Seen()}
    if not target.observe(seen, 0):
        target.cancel(record.run_id)  # which keeps a submitter elsewhere from starting it
        if not target.observe(seen, 0):
            fault = JobStartError(f"run {record.run_id} cannot be started here: {error}")
            fault.__cause__ = error
            return _fail(workspace, record, preparation, fault)
    return workspace.history.advance(record.run_id, RunStatus.PREPARING, is_started=True)


def _fail(
    workspace: Workspace, record: RunRecord, preparation: RunPreparation, error: JobStartError
) -> RunRecord:
    """Record that a run never began, with what its preparation said for its log, and raise why.

    One that was canceled meanwhile is returned: that is why.
    """
    preparation.keep()
    record = workspace.history.advance(
        record.run_id, RunStatus.FAILED, error=str(error), ended_at=_now()
    )
    if record.status is RunStatus.CANCELED:
        return record
    raise error from error.__cause__


def go_on(workspace: Workspace, run: RunRecord) -> RunRecord:
    """The run that goes on from a preempted one, the same for all who ask; `start` it.

    Its target is not asked, unless somebody wants the end of both.
    """
    successor = record_successor(workspace, run)
    log.info("run %s was preempted; it goes on as run %s", run.run_id, successor.run_id)
    is_its_own = successor.run_id == successor_id(run)  # and not of a later occasion
    if is_its_own and CANCEL_PROPERTY in workspace.history.get(run.run_id).properties:
        return cancel(workspace, successor.run_id)  # whoever asked may have seen no successor
    return successor


def cancel(workspace: Workspace, run_id: str) -> RunRecord:
    """Ask for the end of a run and all it started; follow the returned one to see it gone.

    Nothing if it has ended, but for a preempted one: that goes on no longer, and the last in which
    it went on is ended. A run that its target never got is Canceled at once.
    """
    record = workspace.history.get(run_id)
    if record.parent_run_id is not None:
        raise ConfigurationError(
            f"run {run_id} is a child: its script ends it, or the end of the run that was "
            f"submitted, {workspace.history.find_submitted(run_id).run_id}: cancel that one"
        )
    record = _note_cancel_of_last(workspace, record)
    if record.status.is_terminal:
        return record
    target = workspace.get_target(record.target)
    require_place(target, record)
    target.cancel(record.run_id)
    if not record.is_started and not target.observe({record.run_id: Seen()}, 0):
        # The mark on the target keeps a submitter who is still at it from starting.
        return workspace.history.advance(record.run_id, RunStatus.CANCELED, ended_at=_now())
    return record


def _note_cancel_of_last(workspace: Workspace, record: RunRecord) -> RunRecord:
    """Record that a run is to end, and that in which it goes on; that one, or it itself."""
    note_cancel(workspace, record)
    while True:
        last = find_last(workspace, record)
        note_cancel(workspace, last)
        record = workspace.history.advance(last.run_id, RunStatus.CANCEL_REQUESTED)
        # Who saw it preempted before it had the mark may have let it go on meanwhile.
        if not record.status.is_terminal or find_last(workspace, record).run_id == last.run_id:
            return record


def _hand_over(workspace: Workspace, target: ComputeTarget, job: Job) -> None:
    """Start a job; what its target lacks is sent if it says so, which it seldom does."""
    blobs = workspace.artifacts.blobs
    for _ in range(_UPLOADS):
        if target.start(job):
            return
        missing = _find_missing(blobs, target, job)
        if not missing:
            job = bring_along(workspace, job)
            missing = _find_missing(blobs, target, job)
        target.upload(blobs.paths(missing))
    if not target.start(job):
        raise JobStartError(
            f"compute target {target.name!r}: blobs of run {job.run_id} are removed there as soon "
            "as they were sent; see what cleans up its root folder"
        )


def _find_missing(store: Blobs, target: ComputeTarget, job: Job) -> set[str]:
    """The blobs that have to be sent; of a snapshot that the target knows, without listing it."""
    missing = target.missing(job.blobs) if job.blobs else set()
    snapshots = [job.snapshot_id]
    if job.previous_outputs is not None and job.previous_outputs.snapshot_id is not None:
        snapshots.append(job.previous_outputs.snapshot_id)
    for snapshot_id in snapshots:
        lacked = target.missing_of_snapshot(snapshot_id)
        if lacked is None:
            manifest = Manifest.decode(store.read(snapshot_id))
            blobs = {entry.sha256 for entry in manifest.entries if entry.sha256 is not None}
            lacked = target.missing({snapshot_id, *blobs})
        missing |= lacked
    return missing


def _is_adoptable(prior: RunRecord, occasion: Occasion) -> bool:
    if prior.occasion != occasion.token:
        return False
    if prior.status is RunStatus.FAILED:
        return exit_action(prior) in (ExitAction.FAIL, ExitAction.SKIP)  # for good
    return prior.status is not RunStatus.CANCELED


def _now() -> datetime:
    return datetime.now(timezone.utc)
