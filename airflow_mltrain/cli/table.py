"""Tables, sizes and times as plain text that a person and a program can read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Final

_GAP: Final = "  "
_UNITS: Final = ("kB", "MB", "GB", "TB")
_STEP: Final = 1000


def render_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Headings and rows, a line each, in columns."""
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
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
