"""What a target promises of jobs that must not be left alone."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import ComputeTarget
from tests.contracts.target_bench import BenchContract
from tests.services.jobs import follow, wait_for, wait_until_ended

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mltrain.targets.base import JobState
    from tests.services.jobs import JobBench

LEASE_SECONDS = 4.0
_BEATS = """
import os, signal, subprocess, sys, time
def save(*_):
    open("outputs/checkpoint", "w").write("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
daemon = subprocess.Popen(["sleep", "1000"], start_new_session=True)
with open(os.environ["OUTSIDE"] + "/pids", "w") as file:
    file.write("%d %d" % (os.getpid(), daemon.pid))
beat = 0
while True:
    beat += 1
    print("beat", beat, flush=True)
    time.sleep(1)
"""
_WATCH = (
    "import pickle, sys; from tests.contracts.target_lease import watch; "
    "watch(*pickle.load(open(sys.argv[1], 'rb')))"
)


def watch(target: ComputeTarget, run_id: str) -> None:
    """Follow a job for ever, and print its log."""
    shown = 0

    def show(state: JobState) -> bool:
        nonlocal shown
        os.write(1, state.log[shown:])
        shown = len(state.log)
        return state.status.is_terminal

    follow(target, run_id, show, seconds=600)


@contextmanager
def watcher_of(target: ComputeTarget, run_id: str, bench: JobBench) -> Iterator[Path]:
    """A process that watches a job until it is killed; the file that it writes the log to."""
    told, said = (bench.folder / f"{name}-{len(list(bench.folder.iterdir()))}" for name in "ab")
    told.write_bytes(pickle.dumps((target, run_id)))
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _WATCH, told], stdout=output, cwd=Path(__file__).parents[2]
        )
    try:
        yield said
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def _has_begun(said: Path) -> bool:
    return b"beat" in said.read_bytes()


class LeaseContract(BenchContract):
    """Jobs with a lease go on while anybody asks after them, and no longer."""

    def test_a_job_goes_on_while_somebody_watches_it_and_stops_itself_when_nobody_does(
        self, target: ComputeTarget, same_target: ComputeTarget, bench: JobBench
    ) -> None:
        # given
        run_id = bench.python(
            target, _BEATS, lease_seconds=LEASE_SECONDS, cancel_grace_seconds=20.0
        )
        with watcher_of(same_target, run_id, bench) as second:
            with watcher_of(same_target, run_id, bench) as first:
                follow(target, run_id, lambda _: _has_begun(first) and _has_begun(second))
            beats = second.read_bytes().count(b"beat")  # the first one was killed
            wait_for(lambda: second.read_bytes().count(b"beat") > beats + 1.5 * LEASE_SECONDS)

        # when
        pids = [int(pid) for pid in (bench.outside / "pids").read_text().split()]
        was_running = [bench.is_running(pid) for pid in pids]
        wait_for(lambda: not any(bench.is_running(pid) for pid in pids))

        # then
        assert was_running == [True, True]
        state = wait_until_ended(target, run_id)
        assert state.status is RunStatus.FAILED
        assert "nobody watched it for lease_seconds = 4.0" in str(state.reason)
        assert b"[mltrain] nobody has asked after this run for 4.0 seconds" in state.log
        kept = bench.folder / "kept"
        kept.mkdir()
        target.fetch(run_id, kept)
        assert (kept / "outputs" / "checkpoint").read_text() == "saved"
