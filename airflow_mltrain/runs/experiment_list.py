"""The experiments of a run history: their names are those of its runs, the rest is kept here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from airflow_mltrain.runs.record import ExperimentRecord, without_none
from airflow_mltrain.runs.schema import experiments, runs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from airflow_mltrain.runs.database import Database


class Experiments:
    """The experiments of a run history; each call is one transaction, as of the history."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, name: str | None = None) -> list[ExperimentRecord]:
        """Every experiment that has a run, archived or not, by name; or the one of this name."""
        with self._database.reading() as connection:
            return _list(connection, name)

    def archive(self, name: str, archived_at: datetime | None) -> None:
        """Keep that an experiment was archived then, or with None that it is not any more."""
        with self._database.writing() as connection:
            _, tags = _open_mark(connection, name)
            _change_mark(connection, name, archived_at, tags)

    def tag(self, name: str, tags: Mapping[str, str | None]) -> None:
        """Set some of an experiment's tags, and remove those that are None; the rest stay."""
        with self._database.writing() as connection:
            archived_at, known = _open_mark(connection, name)
            _change_mark(connection, name, archived_at, without_none({**known, **tags}))


def _list(connection: Connection, name: str | None) -> list[ExperimentRecord]:
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


def _open_mark(connection: Connection, name: str) -> tuple[datetime | None, dict[str, str]]:
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


def _change_mark(
    connection: Connection, name: str, archived_at: datetime | None, tags: Mapping[str, str]
) -> None:
    """Keep when an experiment was archived, and its tags; it was opened before."""
    facts = {"archived_at": archived_at, "tags": dict(tags)}
    connection.execute(update(experiments).where(experiments.c.name == name).values(facts))
