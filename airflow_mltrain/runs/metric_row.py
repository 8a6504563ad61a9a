"""Metrics on their way into their table, by the ten thousand, and out of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Text, select, type_coerce

from airflow_mltrain.errors import RunHistoryError
from airflow_mltrain.runs.record import MetricRecord, MetricValue
from airflow_mltrain.runs.schema import metrics, plain_text

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select

_RECORD = [metrics.c[name] for name in ("name", "value", "logged_at", "step", "kind")]
_ORDER = (metrics.c.position, metrics.c.ordinal)
_INSERT = {
    "sqlite": "INSERT INTO mltrain_metric"
    " (run_id, position, ordinal, name, value, step, logged_at, kind)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    # One statement that carries columns: much faster than as many statements as there are rows.
    "postgresql": "INSERT INTO mltrain_metric"
    " (run_id, position, ordinal, name, value, step, logged_at, kind) SELECT %s, %s, * FROM"
    " unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::text[])",
}


def insert_metrics(
    connection: Connection, run_id: str, position: int, points: Sequence[MetricRecord]
) -> None:
    """Keep metrics as the tables of `schema.py` would, which takes five times as long.

    RunHistoryError where a value is no JSON data.
    """
    if not points:
        return
    engine = connection.dialect.name
    store_time: Callable[[datetime], Any] = _sqlite_time if engine == "sqlite" else _as_it_is
    names = {name: plain_text(name) for name in {point.name for point in points}}
    try:
        rows = [
            (
                run_id,
                position,
                ordinal,
                names[point.name],
                _json_text(point.value),
                _json_text(point.step),
                store_time(point.logged_at),
                point.kind,
            )
            for ordinal, point in enumerate(points)
        ]
    except (TypeError, ValueError) as error:
        raise RunHistoryError(f"a metric of run {run_id} is no JSON data: {error}") from error
    if engine == "sqlite":
        connection.exec_driver_sql(_INSERT[engine], rows)
    else:
        _, _, *columns = zip(*rows, strict=True)
        parameters = (run_id, position, *map(list, columns))
        connection.exec_driver_sql(_INSERT[engine], parameters)


def list_metrics(connection: Connection, run_id: str, name: str | None) -> list[MetricRecord]:
    """A run's metrics, one name or all, in the order of logging."""
    statement = _of(run_id, *_RECORD).order_by(*_ORDER)
    if name is not None:
        statement = statement.where(metrics.c.name == name)
    return [MetricRecord(*row) for row in connection.execute(statement)]


def list_newest(connection: Connection, run_id: str, limit: int) -> list[MetricRecord]:
    """So many of a run's metrics, those that were logged last, in the order of logging."""
    last_first = [column.desc() for column in _ORDER]
    statement = _of(run_id, *_RECORD).order_by(*last_first).limit(limit)
    return [MetricRecord(*row) for row in reversed(connection.execute(statement).all())]


def list_values(connection: Connection, run_id: str) -> list[MetricValue]:
    """A run's metrics without steps and times, in the order of logging."""
    text = type_coerce(metrics.c.value, Text)  # parsed here: the type's way is slow
    statement = _of(run_id, metrics.c.name, text, metrics.c.kind).order_by(*_ORDER)
    return [
        MetricValue(name, json.loads(value), kind)
        for name, value, kind in connection.execute(statement)
    ]


def _of(run_id: str, *columns: ColumnElement[Any]) -> Select[Any]:
    return select(*columns).where(metrics.c.run_id == run_id)


def _json_text(value: Any) -> str:
    kind = type(value)
    if value is None:
        return "null"
    if kind is int or (kind is float and value - value == 0):
        return repr(value)
    return json.dumps(value)


def _as_it_is(instant: datetime) -> datetime:
    return instant


def _sqlite_time(instant: datetime) -> str:
    return instant.isoformat(" ", "microseconds")[:26]
