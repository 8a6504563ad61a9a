"""Images and matrices among a run's metrics, as its page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mltrain.runs.series import shorten

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import MetricRecord

_MOST_CHARTS = 60
_MOST_LABELS = 30
_OTHER_KINDS = ("accuracy_table", "residuals", "predictions")


@dataclass(frozen=True)
class Chart:
    """An image by its place among the kept files, a matrix with its labels, or just a text."""

    name: str
    image: str = ""
    labels: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    text: str = ""


def arrange_charts(points: Sequence[MetricRecord]) -> list[Chart]:
    """What was logged as an image or a chart; of each name the last."""
    last: dict[str, Chart] = {}
    for point in points:
        if point.kind == "image" and isinstance(point.value, str):
            last[point.name] = Chart(shorten(point.name), image=point.value)
        elif point.kind == "confusion_matrix":
            last[point.name] = _matrix(shorten(point.name), point.value)
        elif point.kind in _OTHER_KINDS:
            last[point.name] = Chart(shorten(point.name), text=shorten(str(point.value), 2000))
    return list(last.values())[:_MOST_CHARTS]


def _matrix(name: str, value: Any) -> Chart:
    data = value.get("data") if isinstance(value, Mapping) else None
    labels: Any = data.get("class_labels") if isinstance(data, Mapping) else None
    matrix: Any = data.get("matrix") if isinstance(data, Mapping) else None
    is_matrix = (
        isinstance(labels, list)
        and isinstance(matrix, list)
        and len(labels) == len(matrix) <= _MOST_LABELS
        and all(isinstance(row, list) and len(row) == len(labels) for row in matrix)
    )
    if not is_matrix:
        return Chart(name, text=shorten(str(value), 2000))
    return Chart(
        name,
        labels=tuple(shorten(str(label), 40) for label in labels),
        rows=tuple(tuple(shorten(str(cell), 20) for cell in row) for row in matrix),
    )
