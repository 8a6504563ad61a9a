"""Tables, sizes and times as plain text that a person and a program can read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Final

from airflow_mltrain.cli.terminal_text import printable, width_of

_GAP: Final = "  "
_UNITS: Final = ("kB", "MB", "GB", "TB")
_STEP: Final = 1000
_BRIEF_SECONDS: Final = 10


def render_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Headings and rows, a line each, in columns; what a terminal would obey is escaped."""
    lines = [[printable(cell) for cell in line] for line in (headings, *rows)]
    widths = [max(map(width_of, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        _GAP.join(
            cell + " " * (width - width_of(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def render_size(size_bytes: int) -> str:
    """Bytes in the largest unit of which there is one, such as `201.3 MB` or `1.2 GB`."""
    if size_bytes < _STEP:
        return f"{size_bytes} B"
    value = float(size_bytes)
    for unit in _UNITS:
        value /= _STEP
        if round(value, 1) < _STEP:
            return f"{value:.1f} {unit}"
    return f"{value:.1f} {_UNITS[-1]}"


def render_time(instant: datetime) -> str:
    """An instant in UTC, to the minute."""
    return instant.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M")


def render_duration(seconds: float) -> str:
    """A span of time in its two largest units, such as `4.2 s` or `3 h 20 min`."""
    if (seconds := max(0.0, seconds)) < _BRIEF_SECONDS:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    first = next(place for place, (count, _) in enumerate(units) if count)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2])
