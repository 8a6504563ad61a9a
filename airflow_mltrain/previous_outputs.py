"""What a run goes on from: the outputs of the run before it that failed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from airflow_mltrain.errors import SnapshotError
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Job, PreviousOutputs
from airflow_mltrain.workspace import Workspace

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

PREVIOUS_OUTPUTS_PROPERTY: Final = "mltrain.previous_outputs"
_NO_LIMIT: Final = 2**63


def find_source(workspace: Workspace, prior: RunRecord | None) -> str | None:
    """The run whose outputs the next one gets; None where `prior` did not fail, or none has any.

    One that failed before it had written anything hands on what it got.
    """
    if prior is None or prior.status not in (RunStatus.FAILED, RunStatus.CANCELED):
        return None
    kept = workspace.artifacts.find_run(prior.run_id)
    if kept is not None and kept.has_outputs:
        return prior.run_id
    return prior.properties.get(PREVIOUS_OUTPUTS_PROPERTY)


def previous_outputs_of(record: RunRecord) -> PreviousOutputs | None:
    """Those that a run was recorded to get."""
    source = record.properties.get(PREVIOUS_OUTPUTS_PROPERTY)
    return None if source is None else PreviousOutputs(source)


def bring_along(workspace: Workspace, job: Job) -> Job:
    """The same job for a target that has no longer what it goes on from: that is to be sent.

    Where it is no longer kept either, or no snapshot can hold it, the job begins anew.
    """
    if job.previous_outputs is None:
        return job
    source = job.previous_outputs.run_id
    kept = workspace.artifacts.find_run(source)
    if kept is None:
        log.warning("run %s begins without the outputs of run %s", job.run_id, source)
        return replace(job, previous_outputs=None)
    try:
        with kept.outputs_folder() as folder:
            snapshot = workspace.artifacts.take_snapshot(
                folder, max_bytes=_NO_LIMIT, rules=_Everything()
            )
    except SnapshotError as error:
        log.warning("run %s begins without the outputs of run %s: %s", job.run_id, source, error)
        return replace(job, previous_outputs=None)
    return replace(job, previous_outputs=PreviousOutputs(source, snapshot.snapshot_id))


class _Everything:
    """Rules by which nothing stays out."""

    ignore_file: Final = "(nothing is left out)"
    keeps_leaving_links: Final = False

    def ignores(self, _path: bytes, _name: bytes, *, is_directory: bool) -> bool:  # noqa: ARG002
        return False

    def opens(self, _path: bytes) -> bool:
        return True

    def below(self, _path: bytes, _read: Callable[[bytes], bytes | None]) -> Self:
        return self
