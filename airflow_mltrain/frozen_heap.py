"""Keeping the garbage collector off what was loaded before."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Have collections pass over every object there is by now.

    A full one looks at all of Airflow, which stops a task for a tenth of a second. Nothing where
    somebody froze what is loaded before, as Airflow's own executors do.
    """
    is_own = gc.get_freeze_count() == 0
    if is_own:
        gc.freeze()
    try:
        yield
    finally:
        if is_own:
            gc.unfreeze()


def freeze_heap() -> None:
    """Have collections pass for good over every object there is by now, unless they do already.

    For a process that serves a thousand triggers: a full one holds up its event loop meanwhile.
    """
    if gc.get_freeze_count() == 0:
        gc.freeze()
