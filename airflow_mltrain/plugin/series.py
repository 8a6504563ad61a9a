"""Metrics as a reader takes them in: the last value, and the course of the numeric ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import MetricRecord

WIDTH = 200
HEIGHT = 40

# What is shown as something else than a series.
CHART_KINDS = frozenset(
    {"image", "confusion_matrix", "accuracy_table", "residuals", "predictions"}
)

_MARGIN = 3  # half a stroke would be cut off at the edge
_MOST_BUCKETS = 100
_LONGEST_TEXT = 200


@dataclass(frozen=True)
class Series:
    """One metric, or one column of a logged table."""

    name: str
    last: str
    count: int
    lowest: str = ""  # of the finite numbers; empty where there are not two
    highest: str = ""
    line: tuple[tuple[float, float], ...] = ()  # in a box of WIDTH by HEIGHT, origin at the top


def arrange_series(points: Sequence[MetricRecord]) -> list[Series]:
    """The metrics of a run in the order in which they first appeared.

    Values of one name are one series, and so is each column of its rows. A plain list, or a column
    of a table, is a series of its own that replaces the one logged before.
    """
    series: dict[str, list[Any]] = {}
    for point in points:
        if point.kind in CHART_KINDS:
            continue
        value = point.value
        columns = (
            {f"{point.name} · {column}": cell for column, cell in value.items()}
            if isinstance(value, Mapping)
            else {point.name: value}
        )
        for name, cell in columns.items():
            if _is_plain_list(cell):
                goes_on = point.kind in ("list+", "table+")
                series[name] = [*series.get(name, ()), *cell] if goes_on else list(cell)
            else:
                series.setdefault(name, []).append(cell)
    return [_describe(name, values) for name, values in series.items()]


def shorten(text: str, longest: int = _LONGEST_TEXT) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _describe(name: str, values: Sequence[Any]) -> Series:
    last = _text(values[-1]) if values else "none"
    finite = [number for number in map(_number, values) if number is not None]
    if len(finite) < 2:  # noqa: PLR2004 - a line has two ends
        return Series(shorten(name), last, len(values))
    return Series(
        shorten(name),
        last,
        len(values),
        _text(min(finite)),
        _text(max(finite)),
        _line(finite),
    )


def _is_plain_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and not any(isinstance(one, (list, dict)) for one in value)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else shorten(str(value))


def _line(numbers: Sequence[float]) -> tuple[tuple[float, float], ...]:
    low, high = min(numbers), max(numbers)
    span = high / 2 - low / 2  # halved: the whole span may be more than a float holds

    def place(index: int) -> tuple[float, float]:
        share = (numbers[index] / 2 - low / 2) / span if span else 0.5
        x = _MARGIN + index / (len(numbers) - 1) * (WIDTH - 2 * _MARGIN)
        return round(x, 1), round(HEIGHT - _MARGIN - share * (HEIGHT - 2 * _MARGIN), 1)

    return tuple(place(index) for index in _telling(numbers))


def _telling(numbers: Sequence[float]) -> list[int]:
    """Which points to draw: all of a few, the lowest and the highest of each bucket of many."""
    if len(numbers) <= 2 * _MOST_BUCKETS:
        return list(range(len(numbers)))
    told = {0, len(numbers) - 1}
    for bucket in range(_MOST_BUCKETS):
        start = bucket * len(numbers) // _MOST_BUCKETS
        inside = range(start, (bucket + 1) * len(numbers) // _MOST_BUCKETS)
        told |= {min(inside, key=numbers.__getitem__), max(inside, key=numbers.__getitem__)}
    return sorted(told)
