"""What need not be kept any longer, on compute targets and in the artifact store.

Nothing goes that a run needs which has not ended, or whose end is not recorded: by reachability
from the run history first, and by age only where that was asked for.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.previous_outputs import PREVIOUS_OUTPUTS_PROPERTY
from airflow_mltrain.runs.exit_action import is_preempted, successor_id
from airflow_mltrain.targets.base import ListedJob, Removed

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import RunRecord
    from airflow_mltrain.targets.base import ComputeTarget
    from airflow_mltrain.workspace import Workspace

YOUNG: Final = timedelta(days=1)  # what is younger may be of a submission under way
REMOVED_PROPERTY: Final = "mltrain.artifacts_removed_at"
_PATIENCE_SECONDS: Final = 30.0
_DIGEST: Final = re.compile("[0-9a-f]{64}")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemovedArtifacts:
    """What went from the artifact store."""

    run_ids: tuple[str, ...]
    blobs: Removed


def collect_jobs(
    workspace: Workspace,
    target: ComputeTarget,
    ended_before: datetime,
    *,
    is_dry_run: bool = False,
) -> list[ListedJob]:
    """Remove from a target the jobs of runs that ended before then; returns those.

    Their log, metrics and outputs are in the run history and the artifact store since they ended.
    A job that the history does not know is nobody's to remove here.
    """
    jobs = target.list_jobs()
    known = workspace.history.find_many(job.run_id for job in jobs)
    removed = []
    for job in jobs:
        record = known.get(job.run_id)
        if record is None or not _ended_before(record, ended_before):
            continue
        if job.status.is_terminal or job.changed_at < ended_before:
            if not is_dry_run:
                target.discard(job.run_id)
            removed.append(job)
    return removed


def collect_artifacts(
    workspace: Workspace,
    ended_before: datetime | None = None,
    *,
    is_dry_run: bool = False,
    least_age: timedelta = YOUNG,
) -> RemovedArtifacts:
    """Remove from the artifact store what nothing refers to; returns what that was.

    With `ended_before`, log and outputs of runs that ended earlier go too, and their snapshots
    where no other run has them; what the run history knows of these runs stays. A run that
    another is to go on from is kept until that one has ended. Nothing goes that is younger than
    `least_age`, unless it is of those runs. Raises ArtifactError where submissions are under way
    without a pause, something cannot be removed, or the store has runs that the run history does
    not know, whose code nothing here refers to.
    """
    with workspace.artifacts.alone(_PATIENCE_SECONDS) as is_alone:
        if not is_alone:
            raise ArtifactError(
                "runs are being submitted all the time, and what they are about to use may not "
                "be removed; repeat this when it is quieter"
            )
        _require_own(workspace)
        try:
            young_since = workspace.artifacts.now() - least_age.total_seconds()
            going = _find_going(workspace, ended_before)
            run_ids = _remove_runs(workspace, going, young_since, is_dry_run=is_dry_run)
            blobs = _remove_blobs(workspace, going, young_since, is_dry_run=is_dry_run)
        except OSError as error:
            raise ArtifactError(
                f"the artifact store cannot be cleared: {error}; mend that, then repeat"
            ) from error
    return RemovedArtifacts(tuple(run_ids), blobs)


def _require_own(workspace: Workspace) -> None:
    kept = workspace.artifacts.run_ids()
    if strange := sorted(set(kept).difference(workspace.history.find_many(kept))):
        raise ArtifactError(
            f"the artifact store {workspace.artifacts.address} has {len(strange)} of {len(kept)} "
            f"runs that this run history does not know, such as {strange[0]}: what they need "
            "would be removed; see that [mltrain] database and artifacts are of one workspace, "
            "and remove runs/<run id> there of runs that nobody needs any more"
        )


def _ended_before(record: RunRecord, instant: datetime) -> bool:
    return record.status.is_terminal and (record.ended_at or record.created_at) < instant


def _find_going(workspace: Workspace, ended_before: datetime | None) -> set[str]:
    """The runs that ended so long ago, and that none goes on from which has not ended itself."""
    if ended_before is None:
        return set()
    ended: set[str] = set()
    needed: set[str] = set()
    preempted: list[RunRecord] = []
    successors: set[object] = set()  # by id and, where they are of a submission, by generation
    for record in workspace.history.read_runs():
        successors.update((record.run_id, (record.submission, record.generation)))
        if _ended_before(record, ended_before):
            ended.add(record.run_id)
        if is_preempted(record):
            preempted.append(record)
        source = record.properties.get(PREVIOUS_OUTPUTS_PROPERTY)
        if source is not None and not record.status.is_terminal:
            needed.add(source)
    for record in preempted:
        by_generation = (record.submission, record.generation + 1)
        name = successor_id(record) if record.submission is None else by_generation
        if name not in successors:
            needed.add(record.run_id)
    return ended - needed


def _remove_runs(
    workspace: Workspace, going: set[str], young_since: float, *, is_dry_run: bool
) -> list[str]:
    """Remove what old runs left, and what killed processes left half-written."""
    artifacts = workspace.artifacts
    removed = sorted(going.intersection(artifacts.run_ids()))
    for run_id in () if is_dry_run else removed:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        workspace.history.annotate(run_id, properties={REMOVED_PROPERTY: now})
        artifacts.remove_run(run_id)
    if not is_dry_run:
        artifacts.remove_drafts(young_since)
    return removed


def _remove_blobs(
    workspace: Workspace, going: set[str], young_since: float, *, is_dry_run: bool
) -> Removed:
    blobs = workspace.artifacts.blobs
    found = {blob.name: blob for blob in blobs.list_blobs()}
    young = {name for name, blob in found.items() if blob.modified_at >= young_since}
    kept = young | _referred_to(workspace, going)
    kept |= blobs.listed_in([name for name in kept if name in found and _DIGEST.fullmatch(name)])
    unused = [blob for name, blob in found.items() if name not in kept]
    if not is_dry_run:
        blobs.remove([blob.name for blob in unused])
    return Removed(len(unused), sum(blob.size_bytes for blob in unused))


def _referred_to(workspace: Workspace, going: set[str]) -> set[str]:
    """Everything in runs and registered environments that could be a blob's name."""
    found: set[str] = set()
    for record in workspace.history.read_runs():
        if record.run_id not in going:
            texts = (json.dumps(record.config), *record.properties.values())
            found.update([record.snapshot_id], *map(_DIGEST.findall, texts))
    for contents in workspace.history.environments.read_contents():
        found.update(_DIGEST.findall(json.dumps(contents)))
    return found
