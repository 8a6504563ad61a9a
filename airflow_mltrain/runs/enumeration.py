"""Runs by what they have in common, for who looks after all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, select

from airflow_mltrain.runs.schema import runs, to_record
from airflow_mltrain.runs.status import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_mltrain.runs.record import RunRecord

_AT_ONCE: Final = 500  # what a statement of either database takes
_SUBMITTED = select(runs).where(runs.c.parent_run_id.is_(None))  # not begun by a script


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
