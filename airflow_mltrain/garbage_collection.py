"""Keeping the garbage collector off what is none, while a task waits."""

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


@contextmanager
def no_collections() -> Iterator[None]:
    """Have none while much is made and nothing thrown away: looking for it costs a tenth."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def freeze_heap() -> None:
    """Have collections pass for good over every object there is by now, unless they do already.

    For a process that serves a thousand triggers: a full one holds up its event loop meanwhile.
    """
    if gc.get_freeze_count() == 0:
        gc.freeze()
