"""How far readers of a run's log have come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, insert, select, update

from airflow_mltrain.runs.schema import log_positions

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import ColumnElement


def find(connection: Connection, run_id: str, reader: str) -> int | None:
    """How many bytes a reader has dealt with; None where it never said."""
    return connection.scalar(select(log_positions.c.position).where(*_is(run_id, reader)))


def move_on(connection: Connection, run_id: str, reader: str, position: int) -> None:
    """Keep the position unless there is a higher one; for one writer of a run at a time."""
    before = find(connection, run_id, reader)
    if before is None:
        row = {"run_id": run_id, "reader": reader, "position": position}
        connection.execute(insert(log_positions).values(row))
    elif before < position:
        ahead = update(log_positions).where(*_is(run_id, reader))
        connection.execute(ahead.values(position=position))


def _is(run_id: str, reader: str) -> list[ColumnElement[bool]]:
    return [log_positions.c.run_id == run_id, log_positions.c.reader == reader]
