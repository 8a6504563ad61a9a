"""Runs by what they have in common, for who looks after all of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Connection, Text, literal, select, tuple_, type_coerce

from airflow_mltrain.runs.schema import runs, to_record
from airflow_mltrain.runs.status import RunStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy import ColumnElement, Select

    from airflow_mltrain.runs.record import RunRecord

_AT_ONCE: Final = 500  # what a statement of either database takes
_SUBMITTED = select(runs).where(runs.c.parent_run_id.is_(None))  # not begun by a script


class RunFilter(NamedTuple):
    """Which runs are meant; what is None, or empty, does not matter."""

    experiment: str | None
    statuses: Collection[RunStatus]
    tags: Mapping[str, str | None]  # None where any value will do
    include_children: bool  # those that scripts began

    def narrow(self, statement: Select[Any]) -> Select[Any]:
        """Leave out what the database can tell; tags by their JSON text, so a few may be wrong."""
        if self.experiment is not None:
            statement = statement.where(runs.c.experiment == self.experiment)
        if self.statuses:
            statement = statement.where(runs.c.status.in_(sorted(self.statuses)))
        for name, value in self.tags.items():
            written = f"{json.dumps(name)}: {'' if value is None else json.dumps(value)}"
            text = type_coerce(runs.c.tags, Text)
            statement = statement.where(text.contains(written, autoescape=True))
        return statement

    def fits(self, run: RunRecord) -> bool:
        """Whether the run has the tags."""
        return all(
            name in run.tags and value in (None, run.tags[name])
            for name, value in self.tags.items()
        )


def list_newest(
    connection: Connection, wanted: RunFilter, limit: int, before: RunRecord | None
) -> list[RunRecord]:
    """So many runs, newest first, from the one that was submitted next before `before` on."""
    some_runs = select(runs) if wanted.include_children else _SUBMITTED
    newest_first = wanted.narrow(some_runs).order_by(
        runs.c.created_at.desc(), runs.c.run_id.desc()
    )
    found: list[RunRecord] = []
    while (lacking := limit - len(found)) > 0:
        statement = newest_first.limit(lacking)
        if before is not None:
            statement = statement.where(is_before(before))
        some = [to_record(row) for row in connection.execute(statement).mappings()]
        found += filter(wanted.fits, some)
        if len(some) < lacking:
            break
        before = some[-1]
    return found


def is_before(run: RunRecord) -> ColumnElement[bool]:
    """Whether a row is of a run that was recorded earlier than this one."""
    place = (runs.c.created_at, runs.c.run_id)
    values = (literal(run.created_at, place[0].type), literal(run.run_id, place[1].type))
    return tuple_(*place) < tuple_(*values)


def list_unfinished(connection: Connection) -> list[RunRecord]:
    """Every submitted run that has not ended, oldest first."""
    ended = [str(status) for status in RunStatus if status.is_terminal]
    statement = _SUBMITTED.where(runs.c.status.not_in(ended))
    rows = connection.execute(statement.order_by(runs.c.created_at, runs.c.run_id)).mappings()
    return [to_record(row) for row in rows]


def find_many(connection: Connection, run_ids: Iterable[str]) -> dict[str, RunRecord]:
    """Those of these runs that there are, by id."""
    wanted = sorted(set(run_ids))
    found: dict[str, RunRecord] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        some = runs.c.run_id.in_(wanted[start : start + _AT_ONCE])
        for row in connection.execute(select(runs).where(some)).mappings():
            found[row["run_id"]] = to_record(row)
    return found


def list_after(connection: Connection, run_id: str) -> list[RunRecord]:
    """The submitted runs that come next after that one, by their ids; none at the end."""
    statement = _SUBMITTED.where(runs.c.run_id > run_id).order_by(runs.c.run_id).limit(_AT_ONCE)
    return [to_record(row) for row in connection.execute(statement).mappings()]
