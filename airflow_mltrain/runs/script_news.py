"""What scripts say of their runs, on its way into the history: tags, models, children, ends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update

from airflow_mltrain.runs.exit_action import CANCEL_PROPERTY, can_be_preempted
from airflow_mltrain.runs.metric_line import OWN_RUN, RunNews
from airflow_mltrain.runs.metric_row import insert_metrics
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.schema import models, runs, to_record, to_row
from airflow_mltrain.runs.status import RunStatus

if TYPE_CHECKING:
    from datetime import datetime

PROCESS_PROPERTY = "mltrain.child_process"
_CHILD_ID = re.compile(r"[A-Za-z0-9_-]{1,256}")
_MOST_DESCENDANTS = 100_000


def keep(
    connection: Connection, run: RunRecord, position: int, told: Mapping[str, RunNews]
) -> None:
    """Keep what a job's scripts said of its run and of its children, in one batch of lines.

    What is said of other runs, or of children that never began, is passed over.
    """
    for run_id, news in told.items():
        if run_id == OWN_RUN:
            _keep_one(connection, run, position, news)
        elif run_id.startswith(f"{run.run_id}_") and _CHILD_ID.fullmatch(run_id):
            child = _find(connection, run_id) or _begin(connection, run, run_id, news)
            if child is not None and child.parent_run_id is not None:
                _keep_one(connection, child, position, news)


def end_children(connection: Connection, run: RunRecord, ended_at: datetime | None) -> None:
    """End those children of an ended run that never said how they ended."""
    for child in _descendants(connection, run.run_id):
        if child.status.is_terminal:
            continue
        facts: dict[str, Any] = {"status": run.status, "ended_at": ended_at}
        if run.status is RunStatus.FAILED:
            facts["error"] = f"its parent failed: {run.error}"
        elif run.status is RunStatus.COMPLETED and PROCESS_PROPERTY in child.properties:
            facts["status"] = RunStatus.CANCELED
            facts["error"] = "the script of its parent ended first"
        connection.execute(update(runs).where(runs.c.run_id == child.run_id).values(facts))


def _begin(
    connection: Connection, parent: RunRecord, run_id: str, news: RunNews
) -> RunRecord | None:
    above = news.parent_run_id
    if above is None or not run_id.startswith(f"{above}_"):
        return None
    if above != parent.run_id and _find(connection, above) is None:
        return None
    config = parent.config if news.config is None else {**parent.config, **news.config}
    child = RunRecord(
        run_id=run_id,
        experiment=parent.experiment,
        target=parent.target,
        snapshot_id=parent.snapshot_id,
        config=config,
        created_at=news.begun_at,
        status=RunStatus.RUNNING,
        is_started=True,
        started_at=news.begun_at,
        environment_key=parent.environment_key,
        properties={} if news.config is None else {PROCESS_PROPERTY: "yes"},
        parent_run_id=above,
    )
    connection.execute(insert(runs).values(to_row(child)))
    return child


def _keep_one(connection: Connection, run: RunRecord, position: int, news: RunNews) -> None:
    insert_metrics(connection, run.run_id, position, news.points)
    if not news.is_more_than_points:
        return
    rows = [
        {"run_id": run.run_id, "position": position, "ordinal": ordinal, **model._asdict()}
        for ordinal, model in enumerate(news.models)
    ]
    if rows:
        connection.execute(insert(models), rows)
    changed = _changed(run, news)
    facts = {name: fact for name, fact in vars(changed).items() if fact != getattr(run, name)}
    if facts:
        connection.execute(update(runs).where(runs.c.run_id == run.run_id).values(facts))


def _changed(run: RunRecord, news: RunNews) -> RunRecord:
    tags: dict[str, str | None] = {**run.tags, **news.tags}
    changed = replace(
        run,
        tags={name: value for name, value in tags.items() if value is not None},
        properties={**news.properties, **run.properties, **news.facts},
        display_name=news.display_name or run.display_name,
    )
    if run.status.is_terminal:
        return changed
    if run.parent_run_id is None:  # how it ended, its exit code says
        return _with_cancel_asked(changed) if news.is_cancel_asked else changed
    if news.end is None:
        return changed
    return replace(changed, status=news.end, error=news.error or None, ended_at=news.ended_at)


def _with_cancel_asked(run: RunRecord) -> RunRecord:
    properties = dict(run.properties)
    if can_be_preempted(run):
        properties[CANCEL_PROPERTY] = "yes"
    status = run.status.advanced_to(RunStatus.CANCEL_REQUESTED)
    return replace(run, status=status, properties=properties)


def _find(connection: Connection, run_id: str) -> RunRecord | None:
    # Locked: what others note of it meanwhile is not to be overwritten.
    statement = select(runs).where(runs.c.run_id == run_id).with_for_update()
    row = connection.execute(statement).mappings().first()
    return None if row is None else to_record(row)


def _descendants(connection: Connection, run_id: str) -> Iterator[RunRecord]:
    pending = [run_id]
    count = 0
    while pending and count < _MOST_DESCENDANTS:
        statement = select(runs).where(runs.c.parent_run_id == pending.pop())
        for row in connection.execute(statement).mappings().all():
            child = to_record(row)
            pending.append(child.run_id)
            count += 1
            yield child
