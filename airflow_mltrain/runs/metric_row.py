"""Metrics on their way into their table, by the ten thousand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_mltrain.errors import RunHistoryError
from airflow_mltrain.runs.schema import plain_text

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from airflow_mltrain.runs.record import MetricRecord

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
    names = {name: plain_text(name) for name in {point.name for point in points}}
    try:
        values = [_json_text(point.value) for point in points]
    except (TypeError, ValueError) as error:
        raise RunHistoryError(f"a metric of run {run_id} is no JSON data: {error}") from error
    columns: list[list[Any]] = [
        list(range(len(points))),
        [names[point.name] for point in points],
        values,
        [_json_text(point.step) for point in points],
        [point.logged_at for point in points],
        [point.kind for point in points],
    ]
    engine = connection.dialect.name
    if engine == "sqlite":
        columns[4] = [_sqlite_time(point.logged_at) for point in points]
        rows = [(run_id, position, *row) for row in zip(*columns, strict=True)]
        connection.exec_driver_sql(_INSERT[engine], rows)
    else:
        connection.exec_driver_sql(_INSERT[engine], (run_id, position, *columns))


def _json_text(value: Any) -> str:
    kind = type(value)
    if value is None:
        return "null"
    if kind is int or (kind is float and value - value == 0):
        return repr(value)
    return json.dumps(value)


def _sqlite_time(instant: datetime) -> str:
    return instant.isoformat(" ", "microseconds")[:26]
