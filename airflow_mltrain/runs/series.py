"""Metrics as a reader takes them in: of each name all values, in the order of logging."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from airflow_mltrain.runtime.training.mltrain.arrangement import arrange

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import MetricRecord, MetricValue

# What is shown as something else than a series.
CHART_KINDS: Final = frozenset(
    {"image", "confusion_matrix", "accuracy_table", "residuals", "predictions"}
)
_LONGEST_TEXT: Final = 200


def collect_series(points: Iterable[MetricRecord | MetricValue]) -> dict[str, list[Any]]:
    """The values of each metric, in the order in which the metrics first appeared.

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
    return series


def arrange_metrics(points: Iterable[MetricRecord | MetricValue]) -> dict[str, Any]:
    """Logged values as Azure ML's `get_metrics` arranges them, also for a script itself."""
    return arrange((point.name, point.value, point.kind) for point in points)


def strict_json(value: Any) -> Any:
    """The value as JSON that every program reads: it has no NaN and no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: strict_json(one) for name, one in value.items()}
    return [strict_json(one) for one in value] if isinstance(value, list) else value


def finite_numbers(values: Sequence[Any]) -> list[float]:
    """Those of the values that a line can go through."""
    return [number for number in map(_number, values) if number is not None]


def describe_value(value: object) -> str:
    """A logged value in a few characters."""
    return f"{value:.6g}" if isinstance(value, float) else shorten(str(value))


def shorten(text: str, longest: int = _LONGEST_TEXT) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


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
