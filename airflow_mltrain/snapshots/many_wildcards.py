"""Globs with many wildcards, matched in a time that a hostile one cannot stretch.

A regular expression tries every way to share a text among its wildcards: with a dozen of them, one
name can take it longer than anybody lives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

WITHIN_NAME: Final = "[^/]*"
DIRECTORIES: Final = "(?:.*/)?"
ANYTHING: Final = ".*"
_REACHES: Final = {WITHIN_NAME: WITHIN_NAME, DIRECTORIES: ANYTHING, ANYTHING: ANYTHING}
_FEW: Final = 2  # an expression with these takes the square of a path's length at worst


def has_many(parts: Sequence[str]) -> bool:
    """Whether an expression of these parts could take for ever."""
    return sum(part in _REACHES for part in parts) > _FEW


class ManyWildcards:
    """What the expression of the joined parts matches, found part by part for all ways at once.

    The parts are wildcards, as named above, and expressions that match one length each.
    """

    def __init__(self, parts: Iterable[str], flags: int = 0) -> None:
        self._parts = [(part, re.compile(_REACHES.get(part, part), flags)) for part in parts]

    def matches(self, text: str) -> bool:
        """Whether they match all of the text."""
        ends = {0}
        for part, expression in self._parts:
            if part in _REACHES:
                ends = _spread(part, expression, text, ends)
            else:
                found = (expression.match(text, end) for end in ends)
                ends = {match.end() for match in found if match}
        return len(text) in ends


def _spread(part: str, expression: re.Pattern[str], text: str, ends: set[int]) -> set[int]:
    """Where a wildcard may end that begins at any of these places."""
    found = set(ends)
    reached = -1
    for start in sorted(ends):
        match = expression.match(text, start)
        if start > reached and match:  # else one before it came as far
            reached = match.end()
            if part == DIRECTORIES:
                found.update(index + 1 for index in range(start, reached) if text[index] == "/")
            else:
                found.update(range(start, reached + 1))
    return found
