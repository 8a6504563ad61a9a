"""How many jobs this machine runs at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.local import LocalTarget
from tests.contracts.target_bench import BenchContract
from tests.services.jobs import (
    is_running,
    kill_supervisor,
    wait_for,
    wait_for_log,
    wait_until,
    wait_until_ended,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.jobs import JobBench

_ORPHANS = '(setsid sleep 1000 & echo $! > "$OUTSIDE/pid"); echo ready; sleep 1000'
_UNTIL_RELEASED = 'while [ ! -e "$OUTSIDE/release" ]; do sleep 0.02; done'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "it's the root"


@pytest.fixture
def one_slot(root: Path) -> LocalTarget:
    return LocalTarget("local", root, max_concurrent_runs=1)


def _pids(bench: JobBench) -> list[int]:
    return [int(line) for line in (bench.outside / "pid").read_text().split()]


class TestSlots(BenchContract):
    """No more jobs at once than the machine has slots, in the order they came."""

    def test_jobs_run_one_after_another_in_the_order_of_their_start(
        self, one_slot: LocalTarget, bench: JobBench
    ) -> None:
        first = bench.shell(one_slot, f'echo 0 >> "$OUTSIDE/order"; {_UNTIL_RELEASED}')
        wait_until(one_slot, first, RunStatus.RUNNING)
        script = 'echo {0} >> "$OUTSIDE/order"; sleep 0.05; echo {0} >> "$OUTSIDE/order"'
        waiting = [bench.shell(one_slot, script.format(number)) for number in range(1, 6)]
        queued = [wait_until(one_slot, run_id, RunStatus.QUEUED) for run_id in waiting]

        (bench.outside / "release").touch()

        ended = [wait_until_ended(one_slot, run_id) for run_id in [first, *waiting]]
        assert {state.status for state in queued} == {RunStatus.QUEUED}
        assert {state.status for state in ended} == {RunStatus.COMPLETED}
        assert (bench.outside / "order").read_text().split() == list("01122334455")

    def test_as_many_jobs_run_at_once_as_there_are_slots(
        self, root: Path, bench: JobBench
    ) -> None:
        target = LocalTarget("local", root, max_concurrent_runs=2)
        running = [bench.shell(target, _UNTIL_RELEASED) for _ in range(2)]
        third = bench.shell(target, "true")

        _ = [wait_until(target, run_id, RunStatus.RUNNING) for run_id in running]
        wait_until(target, third, RunStatus.QUEUED)
        (bench.outside / "release").touch()

        ends = [wait_until_ended(target, run_id).status for run_id in [*running, third]]
        assert set(ends) == {RunStatus.COMPLETED}

    def test_starting_returns_though_many_jobs_wait(
        self, one_slot: LocalTarget, bench: JobBench
    ) -> None:
        blocker = bench.shell(one_slot, _UNTIL_RELEASED)
        jobs = [bench.job(one_slot, "true") for _ in range(20)]

        for job in jobs:
            one_slot.start(job)

        assert wait_until(one_slot, blocker, RunStatus.RUNNING).status is RunStatus.RUNNING
        for job in jobs:
            one_slot.cancel(job.run_id)
        ends = [wait_until_ended(one_slot, job.run_id).status for job in jobs]
        assert set(ends) == {RunStatus.CANCELED}
        (bench.outside / "release").touch()
        wait_until_ended(one_slot, blocker)

    def test_a_queued_job_that_is_canceled_never_runs(
        self, one_slot: LocalTarget, bench: JobBench
    ) -> None:
        first = bench.shell(one_slot, _UNTIL_RELEASED)
        wait_until(one_slot, first, RunStatus.RUNNING)
        second = bench.shell(one_slot, 'touch "$OUTSIDE/ran"')
        wait_until(one_slot, second, RunStatus.QUEUED)

        one_slot.cancel(second)

        assert wait_until_ended(one_slot, second).status is RunStatus.CANCELED
        (bench.outside / "release").touch()
        assert wait_until_ended(one_slot, first).status is RunStatus.COMPLETED
        assert not (bench.outside / "ran").exists()

    def test_the_slot_of_a_killed_supervisor_is_cleared_before_the_next_job_runs(
        self, one_slot: LocalTarget, root: Path, bench: JobBench
    ) -> None:
        first = bench.shell(one_slot, _ORPHANS)
        wait_for_log(one_slot, first, b"ready")
        script = f'{_UNTIL_RELEASED}; kill -0 "$(head -1 "$OUTSIDE/pid")" || echo cleared'
        second = bench.shell(one_slot, script)
        wait_until(one_slot, second, RunStatus.QUEUED)
        left = _pids(bench)[0]

        kill_supervisor(root, first)

        wait_for(lambda: not is_running(left))
        wait_until(one_slot, second, RunStatus.RUNNING)
        assert json.loads((root / "runs" / first / "state.json").read_text())["status"] == "Failed"
        (bench.outside / "release").touch()
        wait_until_ended(one_slot, second)

    def test_a_killed_supervisor_in_the_line_holds_up_nobody(
        self, one_slot: LocalTarget, root: Path, bench: JobBench
    ) -> None:
        first = bench.shell(one_slot, _UNTIL_RELEASED)
        wait_until(one_slot, first, RunStatus.RUNNING)
        second, third = bench.shell(one_slot, "true"), bench.shell(one_slot, "true")
        wait_until(one_slot, second, RunStatus.QUEUED)
        wait_until(one_slot, third, RunStatus.QUEUED)

        kill_supervisor(root, second)
        (bench.outside / "release").touch()

        assert wait_until_ended(one_slot, third).status is RunStatus.COMPLETED
        assert wait_until_ended(one_slot, second).status is RunStatus.FAILED
        assert wait_until_ended(one_slot, first).status is RunStatus.COMPLETED
