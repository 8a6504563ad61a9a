"""What the run history keeps of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from airflow_mltrain.runs.status import RunStatus

# What a metric was logged as; None for one value. A part goes on where the last one ended.
METRIC_KINDS = frozenset(
    {
        *("list", "list+", "row", "table", "table+", "image"),
        *("confusion_matrix", "accuracy_table", "residuals", "predictions"),
    }
)


class SubmissionKey(NamedTuple):
    """The logical submission a run belongs to; retries of one task instance share it."""

    dag_id: str
    dag_run_id: str
    task_id: str
    map_index: int = -1  # as in Airflow: -1 where the task is not mapped


@dataclass(frozen=True)
class RunRecord:
    """One run as the history knows it; instants are aware, in UTC."""

    run_id: str
    experiment: str
    target: str
    snapshot_id: str
    config: Mapping[str, Any]  # a ScriptRunConfig as plain JSON data
    created_at: datetime
    status: RunStatus = RunStatus.NOT_STARTED
    submission: SubmissionKey | None = None
    generation: int = 1
    occasion: str | None = None  # changes when a person asks for the submission again
    is_started: bool = False  # the target has confirmed that it has the job
    started_at: datetime | None = None  # when the script began
    ended_at: datetime | None = None
    exit_code: int | None = None
    error: str | None = None  # why it failed, for a person
    metrics_position: int = 0  # bytes of the job's metrics file that the history holds
    environment_key: str | None = None  # of the environment that was built for it
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    display_name: str | None = None  # what its script calls it
    parent_run_id: str | None = None  # the run whose script began it; None where it was submitted


class ExperimentRecord(NamedTuple):
    """A group of runs by its name, as the history knows it; instants are aware, in UTC."""

    name: str
    newest_run_at: datetime
    archived_at: datetime | None  # None also where a run was submitted to it since
    tags: Mapping[str, str]


class MetricRecord(NamedTuple):
    """One logged value: a number or text, a list, a row or a table's columns, as JSON data."""

    name: str
    value: Any
    logged_at: datetime
    step: int | None = None
    kind: str | None = None  # one of METRIC_KINDS


class MetricValue(NamedTuple):
    """Of a logged value what its course is made of; of very many it is read much faster."""

    name: str
    value: Any
    kind: str | None


class ModelRecord(NamedTuple):
    """A model that a script registered: `path` among the kept files, tags and the like."""

    name: str
    facts: Mapping[str, Any]
    registered_at: datetime


def without_none(tags: Mapping[str, str | None]) -> dict[str, str]:
    """The tags that are left where None removes one."""
    return {name: value for name, value in tags.items() if value is not None}
