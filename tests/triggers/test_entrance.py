"""Triggers that begin at one moment share what they open."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.triggers.entrance import entrance
from airflow_mltrain.triggers.watcher import shared_workspace

pytestmark = pytest.mark.airflow


@pytest.fixture(autouse=True)
def _nothing_is_open() -> Iterator[None]:
    shared_workspace.cache_clear()
    gc.unfreeze()
    yield
    shared_workspace.cache_clear()
    gc.unfreeze()


def test_one_who_gives_up_while_it_opens_does_not_keep_the_others_from_it() -> None:
    async def come_together() -> tuple[bool, bool]:
        first, *others = [asyncio.create_task(entrance().open_workspace()) for _ in range(20)]
        await asyncio.sleep(0)
        first.cancel()
        opened = await asyncio.gather(*others)
        return first.cancelled(), {id(one) for one in opened} == {id(shared_workspace())}

    assert asyncio.run(come_together()) == (True, True)


def test_what_could_not_be_opened_is_tried_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def come_twice() -> str:
        with pytest.raises(ConfigurationError):
            await entrance().open_workspace()
        monkeypatch.setenv("AIRFLOW__MLTRAIN__CANCEL_GRACE_SECONDS", "7")
        return str((await entrance().open_workspace()).settings.cancel_grace_seconds)

    monkeypatch.setenv("AIRFLOW__MLTRAIN__CANCEL_GRACE_SECONDS", "soon")

    assert asyncio.run(come_twice()) == "7.0"


def test_collections_pass_over_what_was_loaded_before_the_first_came() -> None:
    asyncio.run(entrance_opened())

    assert gc.get_freeze_count() > 0


async def entrance_opened() -> None:
    await entrance().open_workspace()


def test_every_question_is_answered_however_many_are_asked_at_once() -> None:
    async def ask_a_thousand() -> list[int]:
        questions = (entrance().ask(abs, -number) for number in range(1000))
        return [int(answer) for answer in await asyncio.gather(*questions)]

    assert asyncio.run(ask_a_thousand()) == list(range(1000))
