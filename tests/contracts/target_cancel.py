"""What every compute target promises about canceling: everything the job started is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import ComputeTarget, Seen
from tests.contracts.target_bench import BenchContract
from tests.services.jobs import (
    pids_carrying,
    wait_for_log,
    wait_until,
    wait_until_ended,
)

if TYPE_CHECKING:
    from tests.services.jobs import JobBench

_UNTIL_RELEASED = """
import os, time
while not os.path.exists(os.environ["OUTSIDE"] + "/release"): time.sleep(0.02)
"""
_IGNORE_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
_FAMILY = """
(sleep 1000 & echo $! >> "$OUTSIDE/pids"; wait) &
setsid sh -c 'echo $$ >> "$OUTSIDE/pids"; exec sleep 1000' &
(setsid env -i sleep 1000 & echo $! >> "$OUTSIDE/pids") &
while [ "$(wc -l < "$OUTSIDE/pids")" -lt 3 ]; do sleep 0.02; done
echo ready
sleep 1000
"""
_STUBBORN = (
    _IGNORE_TERM
    + """
import os, time
for child in range(2):
    if os.fork() == 0:
        os.setsid()
with open(os.environ["OUTSIDE"] + "/pids", "a") as file:
    file.write("%d\\n" % os.getpid())
os.write(1, b"ready\\n")
while True:
    with open("outputs/beat-%d" % os.getpid(), "a") as file:
        file.write("x")
"""
)
_CHECKPOINT = """
import os, signal, subprocess, sys, time
def save(*_):
    subprocess.run(["sh", "-c", "sleep 0.5; echo saved > outputs/checkpoint"], check=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready")
while True: time.sleep(1)
"""


def _pids(bench: JobBench) -> list[int]:
    return [int(line) for line in (bench.outside / "pids").read_text().split()]


class CancelContract(BenchContract):
    """Canceled means gone, and gone only then."""

    @pytest.mark.line
    def test_canceling_stops_children_sessions_and_daemons(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, _FAMILY)
        wait_for_log(target, run_id, b"ready")

        target.cancel(run_id)

        assert wait_until_ended(target, run_id).status is RunStatus.CANCELED
        assert len(_pids(bench)) == 3
        assert [pid for pid in _pids(bench) if bench.is_running(pid)] == []

    @pytest.mark.driver
    def test_canceled_is_said_only_when_those_who_ignore_it_are_gone_too(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.python(target, _STUBBORN)
        wait_for_log(target, run_id, b"ready\nready\nready\nready\n")

        target.cancel(run_id)

        assert wait_until_ended(target, run_id).status is RunStatus.CANCELED
        assert [pid for pid in _pids(bench) if bench.is_running(pid)] == []

    @pytest.mark.driver(elsewhere=True)
    def test_a_script_may_save_its_work_before_it_is_killed(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.python(target, _CHECKPOINT, cancel_grace_seconds=20.0)
        wait_for_log(target, run_id, b"ready")

        target.cancel(run_id)

        state = wait_until_ended(target, run_id)
        assert (state.status, state.exit_code) == (RunStatus.CANCELED, 0)
        destination = bench.folder / "fetched"
        destination.mkdir()
        target.fetch(run_id, destination)
        assert (destination / "outputs" / "checkpoint").read_text() == "saved\n"

    def test_a_cancel_shows_while_the_grace_period_lasts(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        script = f"{_IGNORE_TERM}print('ready')\n{_UNTIL_RELEASED}"
        run_id = bench.python(target, script, cancel_grace_seconds=600.0)
        wait_for_log(target, run_id, b"ready")

        target.cancel(run_id)

        state = wait_until(target, run_id, RunStatus.CANCEL_REQUESTED, RunStatus.CANCELED)
        assert state.status is RunStatus.CANCEL_REQUESTED
        assert pids_carrying(run_id)
        (bench.outside / "release").touch()
        assert wait_until_ended(target, run_id).status is RunStatus.CANCELED

    def test_a_script_that_is_stopped_can_be_canceled(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "echo ready; kill -STOP $$", cancel_grace_seconds=20.0)
        wait_for_log(target, run_id, b"ready")

        target.cancel(run_id)

        assert wait_until_ended(target, run_id).status is RunStatus.CANCELED

    @pytest.mark.driver
    @pytest.mark.line
    def test_a_job_canceled_before_its_start_never_runs(
        self, target: ComputeTarget, same_target: ComputeTarget, bench: JobBench
    ) -> None:
        job = bench.job(target, "sh", "-c", 'touch "$OUTSIDE/ran"')
        same_target.cancel(job.run_id)
        assert target.observe({job.run_id: Seen()}, 0) == {}

        target.start(job)

        assert wait_until_ended(target, job.run_id).status is RunStatus.CANCELED
        assert not (bench.outside / "ran").exists()

    def test_canceling_after_the_end_changes_nothing(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "echo done")
        before = wait_until_ended(target, run_id)

        target.cancel(run_id)

        assert wait_until_ended(target, run_id) == before
        assert before.status is RunStatus.COMPLETED

    @pytest.mark.line
    def test_canceling_twice_is_canceling_once(
        self, target: ComputeTarget, same_target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "echo ready; sleep 1000")
        wait_for_log(target, run_id, b"ready")

        target.cancel(run_id)
        same_target.cancel(run_id)

        ended = wait_until_ended(target, run_id)
        target.cancel(run_id)
        assert ended.status is RunStatus.CANCELED
        assert wait_until_ended(target, run_id) == ended
