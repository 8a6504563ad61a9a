"""The course of a metric in one line of a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

_LEVELS: Final = "▁▂▃▄▅▆▇█"


def render_sparkline(numbers: Sequence[float], columns: int = 24) -> str:
    """The numbers from the lowest to the highest level; of very many, the mean of each few.

    They have to be finite. Empty where there are not two.
    """
    if len(numbers) < 2:  # noqa: PLR2004 - a course has two ends
        return ""
    heights = _average(numbers, columns)
    low, high = min(heights), max(heights)
    span = high / 2 - low / 2  # halved: the whole span may be more than a float holds
    top = len(_LEVELS) - 1
    if not span:
        return _LEVELS[top // 2] * len(heights)
    return "".join(_LEVELS[round((one / 2 - low / 2) / span * top)] for one in heights)


def _average(numbers: Sequence[float], columns: int) -> list[float]:
    count = len(numbers)
    if count <= columns:
        return list(numbers)
    bounds = [column * count // columns for column in range(columns + 1)]
    return [
        sum(one / (end - start) for one in numbers[start:end])
        for start, end in itertools.pairwise(bounds)
    ]
