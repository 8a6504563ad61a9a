"""The experiments of a run history: their names are those of its runs, the rest is kept here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from airflow_mltrain.runs.record import ExperimentRecord
from airflow_mltrain.runs.schema import experiments, runs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


def list_experiments(connection: Connection, name: str | None = None) -> list[ExperimentRecord]:
    """Every experiment that has a run, or the one of this name, by their names."""
    newest = func.max(runs.c.created_at, type_=runs.c.created_at.type)
    # A child begins with the script of its parent, which nobody submitted anew.
    submitted = select(runs.c.experiment, newest).where(runs.c.parent_run_id.is_(None))
    statement = submitted.group_by(runs.c.experiment)
    marks = select(experiments)
    if name is not None:
        statement = statement.where(runs.c.experiment == name)
        marks = marks.where(experiments.c.name == name)
    kept = {row.name: row for row in connection.execute(marks)}
    found = []
    for experiment, newest_run_at in connection.execute(statement.order_by(runs.c.experiment)):
        mark = kept.get(experiment)
        archived_at = mark.archived_at if mark else None
        if archived_at is not None and newest_run_at > archived_at:
            archived_at = None  # it was taken up again
        tags = mark.tags if mark else {}
        found.append(ExperimentRecord(experiment, newest_run_at, archived_at, tags))
    return found


def open_mark(connection: Connection, name: str) -> tuple[datetime | None, dict[str, str]]:
    """When an experiment was archived, and its tags; nobody else changes them meanwhile."""
    statement = select(experiments).where(experiments.c.name == name).with_for_update()
    row = connection.execute(statement).first()
    if row is None:
        try:
            with connection.begin_nested():
                connection.execute(insert(experiments).values(name=name, tags={}))
        except IntegrityError:  # another was faster, and has committed by now
            row = connection.execute(statement).first()
    return (None, {}) if row is None else (row.archived_at, row.tags)


def change_mark(
    connection: Connection, name: str, archived_at: datetime | None, tags: Mapping[str, str]
) -> None:
    """Keep when an experiment was archived, and its tags; it was opened before."""
    facts = {"archived_at": archived_at, "tags": dict(tags)}
    connection.execute(update(experiments).where(experiments.c.name == name).values(facts))
