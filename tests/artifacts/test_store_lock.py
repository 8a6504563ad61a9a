"""Who uses a store and who clears it keep out of each other's way; the dead are in nobody's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from airflow_mltrain.artifacts.objects import Objects
from airflow_mltrain.artifacts.store_lock import StoreLock
from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.settings import StoreUrl
from tests.artifacts import storing
from tests.services.jobs import wait_for
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

    assert after.epoch != before.epoch


def test_a_collection_is_waited_for_and_ends_the_epoch(folder: Path) -> None:
    epochs: list[str] = []
    begun = threading.Event()

    def use() -> None:
        begun.set()
        with lock_of(folder).used() as mine:
            epochs.append(mine.epoch)

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
    assert epochs != [before.epoch]
    assert len(epochs) == 1


def test_two_do_not_clear_a_store_at_once(folder: Path) -> None:
    with lock_of(folder).alone(0.0) as is_first, lock_of(folder).alone(0.0) as is_second:
        assert (is_first, is_second) == (True, False)

    with lock_of(folder).alone(0.0) as is_third:
        assert is_third


def test_of_two_that_begin_to_clear_a_store_in_one_moment_the_last_one_does(folder: Path) -> None:
    # given: a collector that has found nobody at it, and another that has not either
    collection = folder / "lock/collection.json"
    other = json.dumps({"epoch": "another's", "is_running": True})
    answers: list[bool] = []

    def collect() -> None:
        with lock_of(folder).alone(PATIENCE_SECONDS) as is_alone:
            answers.append(is_alone)

    collector = threading.Thread(target=collect)
    with lock_of(folder).used():
        collector.start()
        wait_for(lambda: json.loads(collection.read_text())["is_running"])

        # when
        collection.write_text(other)
    while collector.is_alive():
        collection.write_text(other)
        time.sleep(0.01)

    # then
    assert answers == [False]
    assert json.loads(collection.read_text())["epoch"] == "another's"


def test_a_collector_that_others_took_for_dead_removes_nothing_more(folder: Path) -> None:
    slow = lock_of(folder)
    with slow.alone(0.0):
        slow.require_alone()
        let_age(folder / "lock/collection.json")
        with lock_of(folder).alone(0.0) as is_alone:
            assert is_alone
            with pytest.raises(ArtifactError, match="interrupted"):
                slow.require_alone()


def test_a_collector_that_slept_does_not_rise_again(folder: Path) -> None:
    # given: a machine that falls asleep while it clears the store, and somebody who goes on
    objects = Objects(StoreUrl("local", str(folder)))
    objects.write("blobs/needed", b"by a run that is about to be recorded")
    process = storing.start({}, storing.clear, folder, "blobs/needed")
    wait_for((folder / "clearing").exists)
    os.kill(process.pid or 0, signal.SIGSTOP)

    # when: it wakes up, and has the time to renew what it believes to have
    with StoreLock(objects, collector_seconds=storing.COLLECTOR_SECONDS).used():
        os.kill(process.pid or 0, signal.SIGCONT)
        process.join(PATIENCE_SECONDS)
        is_there = objects.find("blobs/needed") is not None

    # then
    assert is_there
    assert "interrupted" in (folder / "refused").read_text()


def test_who_could_not_renew_a_mark_for_long_records_nothing(folder: Path) -> None:
    with StoreLock(Objects(StoreUrl("local", str(folder))), user_seconds=1.0).used() as use:
        use.require()
        while not (folder / "lock/using").is_file():  # then every renewal fails
            shutil.rmtree(folder / "lock/using", ignore_errors=True)
            with suppress(OSError):
                (folder / "lock/using").touch(exist_ok=False)

        with pytest.raises(ArtifactError, match="may have been removed"):
            while_waiting(use.require)


def test_half_a_collection_keeps_users_out(folder: Path) -> None:
    (folder / "lock").mkdir(parents=True)
    (folder / "lock/collection.json").write_bytes(b'{"epo')
    got_in = threading.Event()

    def use() -> None:
        with lock_of(folder).used():
            got_in.set()

    user = threading.Thread(target=use)
    user.start()
    while_waiting(lambda: got_in.is_set() or next((folder / "lock/using").iterdir()), until=True)
    was_in = got_in.wait(1.0)
    (folder / "lock/collection.json").write_text('{"epoch": "next", "is_running": false}')
    user.join()

    assert not was_in
    assert got_in.is_set()


def while_waiting(call: Callable[[], object], *, until: bool = False) -> None:
    """Call it again and again, until it works where that is awaited, else until it raises."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            call()
        except (OSError, StopIteration):
            time.sleep(0.01)
        else:
            if until:
                return
            time.sleep(0.01)
