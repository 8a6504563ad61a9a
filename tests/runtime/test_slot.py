"""Waiting in line for a slot."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runtime.job_agent import slot

if TYPE_CHECKING:
    from pathlib import Path


def acquire(folder: Path, turn: str, *, looks: int = 1) -> slot.Slot | None:
    """Wait in line for the only slot; leave it after that many looks."""
    answers = iter([False] * looks)
    held = slot.acquire(str(folder), ["0"], 1, turn, lambda: next(answers, True), time.sleep)
    return held[0] if held else None


def test_a_free_slot_is_taken_at_once(tmp_path: Path) -> None:
    held = acquire(tmp_path, "1")

    assert held is not None
    assert held.last_holder() is None
    held.free()


def test_a_slot_is_had_by_one_at_a_time(tmp_path: Path) -> None:
    held = acquire(tmp_path, "1")
    assert held is not None

    assert acquire(tmp_path, "2", looks=2) is None
    held.free()
    again = acquire(tmp_path, "3")
    assert again is not None
    again.free()


def test_the_next_holder_learns_who_had_it_last(tmp_path: Path) -> None:
    first = acquire(tmp_path, "1")
    assert first is not None
    first.occupy("a-rather-long-run-id")
    first.occupy("run-1")
    first.free()

    second = acquire(tmp_path, "2")

    assert second is not None
    assert second.last_holder() == "run-1"
    second.free()


def test_who_died_in_line_holds_up_nobody(tmp_path: Path) -> None:
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "0").touch()

    held = acquire(tmp_path, "1")

    assert held is not None
    assert list((tmp_path / "line").iterdir()) == []
    held.free()


def test_a_later_turn_waits_for_an_earlier_one(tmp_path: Path) -> None:
    held = acquire(tmp_path, "0")
    assert held is not None
    first: slot.Slot = held
    taken: list[slot.Slot | None] = []

    def let_another_try(_: float) -> None:
        first.free()
        taken.append(acquire(tmp_path, "2"))
        raise TimeoutError

    with pytest.raises(TimeoutError):
        slot.acquire(str(tmp_path), ["0"], 1, "1", lambda: False, let_another_try)

    assert taken == [None]


def test_who_needs_several_gets_all_of_them_or_none(tmp_path: Path) -> None:
    names = ["0", "1", "2"]
    two = slot.acquire(str(tmp_path), names, 2, "1", lambda: False, time.sleep)
    assert two is not None
    answers = iter([False, False])

    more = slot.acquire(str(tmp_path), names, 2, "2", lambda: next(answers, True), time.sleep)
    one = slot.acquire(str(tmp_path), names, 1, "3", lambda: False, time.sleep)

    assert [held.name for held in two] == ["0", "1"]
    assert more is None
    assert one is not None
    assert [held.name for held in one] == ["2"]
    for held in (*two, *one):
        held.free()
