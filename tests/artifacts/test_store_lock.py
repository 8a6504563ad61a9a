"""Who uses a store and who clears it keep out of each other's way; the dead are in nobody's."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from airflow_mltrain.artifacts.objects import Objects
from airflow_mltrain.artifacts.store_lock import StoreLock
from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.settings import StoreUrl
from tests.services.patience import PATIENCE_SECONDS

_LONG_SECONDS = 2 * 3600.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "far away"


def lock_of(folder: Path) -> StoreLock:
    """The lock as another process has it."""
    return StoreLock(Objects(StoreUrl("local", str(folder))))


def let_age(path: Path) -> None:
    then = time.time() - _LONG_SECONDS
    os.utime(path, (then, then))


def test_a_mark_of_a_killed_user_is_not_waited_for(folder: Path) -> None:
    with lock_of(folder).used():
        [mark] = (folder / "lock/using").iterdir()
        let_age(mark)

        with lock_of(folder).alone(0.0) as is_alone:
            assert is_alone


def test_a_killed_collector_keeps_nobody_out_and_begins_an_epoch(folder: Path) -> None:
    with lock_of(folder).used() as before:
        pass
    collection = folder / "lock/collection.json"
    collection.write_text(json.dumps({"epoch": "a killed one's", "is_running": True}))
    let_age(collection)

    with lock_of(folder).used() as after:
        pass

    assert after != before


def test_a_collection_is_waited_for_and_ends_the_epoch(folder: Path) -> None:
    epochs: list[str] = []
    begun = threading.Event()

    def use() -> None:
        begun.set()
        with lock_of(folder).used() as epoch:
            epochs.append(epoch)

    with lock_of(folder).used() as before:
        pass
    with lock_of(folder).alone(0.0) as is_alone:
        assert is_alone
        user = threading.Thread(target=use)
        user.start()
        begun.wait()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not list((folder / "lock/using").glob("*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        got_in = list(epochs)
    user.join()

    assert got_in == []
    assert epochs != [before]
    assert len(epochs) == 1


def test_two_do_not_clear_a_store_at_once(folder: Path) -> None:
    with lock_of(folder).alone(0.0) as is_first, lock_of(folder).alone(0.0) as is_second:
        assert (is_first, is_second) == (True, False)

    with lock_of(folder).alone(0.0) as is_third:
        assert is_third


def test_a_collector_that_others_took_for_dead_removes_nothing_more(folder: Path) -> None:
    slow = lock_of(folder)
    with slow.alone(0.0):
        slow.require_alone()
        let_age(folder / "lock/collection.json")
        with lock_of(folder).alone(0.0) as is_alone:
            assert is_alone
            with pytest.raises(ArtifactError, match="interrupted"):
                slow.require_alone()
