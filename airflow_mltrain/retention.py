"""What need not be kept any longer, on compute targets and in the artifact store.

Nothing goes that a run needs which has not ended, or whose end is not recorded: by reachability
from the run history first, and by age only where that was asked for.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.runtime.job_agent.checkout import blobs_of
from airflow_mltrain.targets.base import ListedJob, Removed

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import RunRecord
    from airflow_mltrain.targets.base import ComputeTarget
    from airflow_mltrain.workspace import Workspace

YOUNG: Final = timedelta(days=1)  # what is younger may be of a submission under way
REMOVED_PROPERTY: Final = "mltrain.artifacts_removed_at"
_PATIENCE_SECONDS: Final = 30.0
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_MANIFEST_START: Final = b'{"version"'

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
    workspace: Workspace, ended_before: datetime | None = None, *, is_dry_run: bool = False
) -> RemovedArtifacts:
    """Remove from the artifact store what nothing refers to; returns what that was.

    With `ended_before`, log and outputs of runs that ended earlier go too, and their snapshots
    where no other run has them; what the run history knows of these runs stays. Raises
    ArtifactError where submissions are under way without a pause, or something cannot be removed.
    """
    with workspace.artifacts.alone(_PATIENCE_SECONDS) as is_alone:
        if not is_alone:
            raise ArtifactError(
                "runs are being submitted all the time, and what they are about to use may not "
                "be removed; repeat this when it is quieter"
            )
        try:
            run_ids = _remove_runs(workspace, ended_before, is_dry_run=is_dry_run)
            blobs = _remove_blobs(workspace, ended_before, is_dry_run=is_dry_run)
        except OSError as error:
            raise ArtifactError(
                f"the artifact store cannot be cleared: {error}; mend that, then repeat"
            ) from error
    return RemovedArtifacts(tuple(run_ids), blobs)


def _ended_before(record: RunRecord, instant: datetime | None) -> bool:
    if instant is None or not record.status.is_terminal:
        return False
    return (record.ended_at or record.created_at) < instant


def _remove_runs(
    workspace: Workspace, ended_before: datetime | None, *, is_dry_run: bool
) -> list[str]:
    """Remove what old runs left, and what killed processes left half-written."""
    folders = workspace.artifacts.run_folders()
    known = workspace.history.find_many(folder.name for folder in folders)
    removed = []
    for folder in folders:
        record = known.get(folder.name)
        if record is not None and _ended_before(record, ended_before):
            removed.append(record.run_id)
            if not is_dry_run:
                now = datetime.now(timezone.utc).isoformat(timespec="seconds")
                workspace.history.annotate(record.run_id, properties={REMOVED_PROPERTY: now})
                _remove_tree(folder)
        elif folder.name.startswith(".") and _is_old(folder) and not is_dry_run:
            shutil.rmtree(folder)
    return removed


def _remove_tree(folder: Path) -> None:
    """Remove a folder so that it is there whole or not at all, whenever this is killed."""
    gone = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    folder.rename(gone)
    shutil.rmtree(gone)


def _is_old(path: Path) -> bool:
    try:
        age = datetime.now(timezone.utc).timestamp() - path.stat().st_mtime
    except FileNotFoundError:  # a draft that has just become what it was made for
        return False
    return age > YOUNG.total_seconds()


def _remove_blobs(
    workspace: Workspace, ended_before: datetime | None, *, is_dry_run: bool
) -> Removed:
    entries = {entry.name: entry for entry in workspace.artifacts.blobs.entries()}
    young = {name for name, entry in entries.items() if not _is_old(Path(entry.path))}
    kept = young | _referred_to(workspace, ended_before)
    for digest in list(kept):
        if digest in entries:
            kept |= _listed_in(Path(entries[digest].path))
    going = [Path(entry.path) for name, entry in entries.items() if name not in kept]
    going.sort(key=_is_snapshot, reverse=True)  # who finds one takes its files to be there
    size_bytes = sum(path.stat().st_size for path in going)
    for path in () if is_dry_run else going:
        path.unlink()
    return Removed(len(going), size_bytes)


def _referred_to(workspace: Workspace, ended_before: datetime | None) -> set[str]:
    """Everything in runs and registered environments that could be a blob's name."""
    found: set[str] = set()
    for record in workspace.history.read_runs():
        if not _ended_before(record, ended_before):
            texts = (json.dumps(record.config), *record.properties.values())
            found.update([record.snapshot_id], *map(_DIGEST.findall, texts))
    for contents in workspace.history.environments.read_contents():
        found.update(_DIGEST.findall(json.dumps(contents)))
    return found


def _is_snapshot(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_MANIFEST_START)) == _MANIFEST_START


def _listed_in(path: Path) -> set[str]:
    """The blobs that a snapshot lists; none where this is no snapshot."""
    if not _is_snapshot(path):
        return set()
    try:
        return set(blobs_of(path.read_bytes()))
    except ValueError:
        return set()
