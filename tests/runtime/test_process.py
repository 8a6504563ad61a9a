"""Telling live processes from dead ones, and from others that took their number."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runtime.job_agent import process
from tests.services.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries the run id `run-of-a-test`."""
    environment = {**os.environ, process.RUN_ID_VARIABLE: "run-of-a-test"}
    with subprocess.Popen(["sleep", "1000"], env=environment) as sleeper:
        yield sleeper
        sleeper.kill()


def test_a_process_knows_itself_to_live() -> None:
    assert process.is_alive(process.identity())


def test_a_later_process_with_the_same_pid_is_another() -> None:
    assert not process.is_alive({**process.identity(), "start_time": "1"})


def test_after_a_reboot_nobody_lives() -> None:
    assert not process.is_alive({**process.identity(), "boot_id": "the boot before"})


def test_what_runs_on_another_host_cannot_be_judged_from_here() -> None:
    elsewhere = {"host": "gpu-7", "boot_id": "of gpu-7"}

    assert process.is_alive({**process.identity(), **elsewhere})


def test_what_runs_in_another_container_cannot_be_judged_from_here() -> None:
    elsewhere = {"pid_namespace": "pid:[1]", "pid": 999_999_999}

    assert process.is_alive({**process.identity(), **elsewhere})


def test_a_host_that_was_renamed_still_knows_its_own_processes() -> None:
    assert process.is_alive({**process.identity(), "host": "old-name"})
    assert not process.is_alive({**process.identity(), "host": "old-name", "start_time": "1"})


def test_a_zombie_is_dead(sleeper: subprocess.Popen[bytes]) -> None:
    (found,) = process.processes_of("run-of-a-test")
    who = {**process.identity(), "pid": found.pid, "start_time": found.start_time}
    assert process.is_alive(who)

    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)

    assert not process.is_alive(who)
    assert process.processes_of("run-of-a-test") == []


def test_a_run_id_that_begins_like_another_is_another(sleeper: subprocess.Popen[bytes]) -> None:
    assert [one.pid for one in process.processes_of("run-of-a-test")] == [sleeper.pid]
    assert process.processes_of("run-of-a-tes") == []
    assert process.processes_of("run-of-a-test-2") == []


def test_descendants_belong_to_a_job_whatever_they_carry() -> None:
    with subprocess.Popen(["sh", "-c", "env -i sleep 1000; :"]) as shell:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(found := process.processes_of("run-x", ancestor=shell.pid)) < 1:
            assert time.monotonic() < deadline
        os.kill(found[0].pid, signal.SIGKILL)

    assert len(found) == 1


def test_stopping_gives_up_when_its_patience_ends(sleeper: subprocess.Popen[bytes]) -> None:
    immortal = process.Process(sleeper.pid, "1", 1)

    is_quiet = process.stop_all(lambda: [immortal], grace_seconds=0, patience_seconds=0.1)

    assert not is_quiet


def test_the_first_process_of_a_machine_is_never_signaled() -> None:
    with pytest.raises(ValueError, match="refusing to signal pid 1"):
        process.stop_all(lambda: [process.Process(1, "1", 0)], grace_seconds=0)
