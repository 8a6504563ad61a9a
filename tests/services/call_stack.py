"""How deep calls may go."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SHALLOW_FRAMES = 300


@contextmanager
def shallow_stack() -> Iterator[None]:
    """Calls go only so much deeper: what calls itself for each of a few hundred fails."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + SHALLOW_FRAMES)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
