"""Collections pass over what was there before, and over nothing else."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from airflow_mltrain.garbage_collection import frozen_heap, no_collections


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


class _Knot:
    """An object that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


def test_what_was_there_is_passed_over_and_looked_at_again_afterwards() -> None:
    knot = _Knot()
    before = weakref.ref(knot)

    with frozen_heap():
        del knot
        gc.collect()
        is_kept = before() is not None
    gc.collect()

    assert is_kept
    assert before() is None


def test_what_is_made_meanwhile_is_collected() -> None:
    with frozen_heap():
        made = weakref.ref(_Knot())
        gc.collect()
        is_kept = made() is not None

    assert not is_kept


def test_it_ends_with_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), frozen_heap():
        raise ZeroDivisionError

    assert gc.get_freeze_count() == 0


def test_what_somebody_else_froze_stays_frozen() -> None:
    gc.freeze()
    count = gc.get_freeze_count()

    with frozen_heap():
        pass

    assert gc.get_freeze_count() > count / 2  # some are freed, for nobody needs them any more


def test_nothing_is_looked_for_in_between_and_all_is_afterwards() -> None:
    with no_collections():
        is_off = not gc.isenabled()

    assert is_off
    assert gc.isenabled()


def test_where_nobody_wants_collections_there_are_none_afterwards() -> None:
    gc.disable()
    try:
        with no_collections():
            pass
        is_off = not gc.isenabled()
    finally:
        gc.enable()

    assert is_off
