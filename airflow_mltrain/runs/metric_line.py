"""The lines of a run's metrics file: metrics, tags and properties, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from airflow_mltrain.runs.record import MetricRecord

_LONGEST_LINE_BYTES = 1024 * 1024
_OWN_PROPERTIES = "mltrain."  # no script sets those that the product goes by


@dataclass(frozen=True)
class MetricLines:
    """What some bytes of a metrics file say; `length` of them are whole lines."""

    points: tuple[MetricRecord, ...]
    tags: Mapping[str, str]
    properties: Mapping[str, str]
    length: int


def parse_metric_lines(data: bytes, *, is_complete: bool) -> MetricLines:
    """Read whole lines; with `is_complete` the last one needs no newline.

    A line that is not ours to read is passed over: a script may write anything to its own files,
    and that must not cost it its other metrics.
    """
    length = len(data) if is_complete else data.rfind(b"\n") + 1
    if not length and len(data) >= _LONGEST_LINE_BYTES:
        length = len(data)
    points: list[MetricRecord] = []
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}
    for line in data[:length].split(b"\n"):
        message = _read(line)
        if message is None:
            continue
        if message["type"] == "metric":
            points.append(_point(message))
        elif message["type"] == "tag":
            tags[message["name"]] = str(message.get("value") or "")
        elif message["type"] == "property" and not message["name"].startswith(_OWN_PROPERTIES):
            properties[message["name"]] = str(message.get("value") or "")
    return MetricLines(tuple(points), tags, properties, length)


def _read(line: bytes) -> Mapping[str, Any] | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_ours = (
        isinstance(message, dict)
        and isinstance(message.get("type"), str)
        and isinstance(message.get("name"), str)
        and "value" in message
    )
    return message if is_ours else None


def _point(message: Mapping[str, Any]) -> MetricRecord:
    step = message.get("step")
    try:
        logged_at = datetime.fromtimestamp(float(message.get("time", 0)), timezone.utc)
    except (TypeError, ValueError, OverflowError, OSError):
        logged_at = datetime.fromtimestamp(0, timezone.utc)
    return MetricRecord(
        name=message["name"],
        value=message["value"],
        logged_at=logged_at,
        step=step if isinstance(step, int) else None,
    )
