"""Metrics as the page of a run shows them: the last value, and the course of the numeric ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mltrain.runs.series import (
    collect_series,
    describe_value,
    finite_numbers,
    shorten,
)

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import MetricRecord

WIDTH = 200
HEIGHT = 40

_MARGIN = 3  # half a stroke would be cut off at the edge
_MOST_BUCKETS = 100


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
    """The metrics of a run in the order in which they first appeared."""
    return [_describe(name, values) for name, values in collect_series(points).items()]


def _describe(name: str, values: Sequence[Any]) -> Series:
    last = describe_value(values[-1]) if values else "none"
    finite = finite_numbers(values)
    if len(finite) < 2:  # noqa: PLR2004 - a line has two ends
        return Series(shorten(name), last, len(values))
    return Series(
        shorten(name),
        last,
        len(values),
        describe_value(min(finite)),
        describe_value(max(finite)),
        _line(finite),
    )


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
