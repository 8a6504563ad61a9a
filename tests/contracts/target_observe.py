"""What every compute target promises to those who observe, and to those who discard."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.errors import TargetError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import ComputeTarget, JobState, Seen
from tests.contracts.target_bench import BenchContract
from tests.services.jobs import wait_until, wait_until_ended
from tests.services.processes import run_together

if TYPE_CHECKING:
    from tests.services.jobs import JobBench

_UNTIL_RELEASED = 'while [ ! -e "$OUTSIDE/release" ]; do sleep 0.02; done'
_WAIT_SECONDS = 60.0


def observe_end(work: tuple[ComputeTarget, str]) -> JobState:
    """Follow a job to its end as another process does."""
    target, run_id = work
    return wait_until_ended(target, run_id)


class ObserveContract(BenchContract):
    """Many jobs in one exchange, news at once, and nothing of what was discarded."""

    @pytest.mark.driver(elsewhere=True)
    @pytest.mark.line
    def test_both_views_are_of_one_place(
        self, target: ComputeTarget, same_target: ComputeTarget
    ) -> None:
        assert target.place == same_target.place

    def test_an_unknown_run_is_missing_from_the_answer(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "true")
        wait_until_ended(target, run_id)

        answer = target.observe({run_id: Seen(), "never-started": Seen()}, 5)

        assert list(answer) == [run_id]

    @pytest.mark.driver
    @pytest.mark.line
    def test_another_process_follows_a_job_it_did_not_start(
        self, target: ComputeTarget, same_target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, f"echo begun; {_UNTIL_RELEASED}; echo done")
        wait_until(target, run_id, RunStatus.RUNNING)
        (bench.outside / "release").touch()

        (state,) = run_together(observe_end, [(same_target, run_id)])

        assert (state.status, state.log) == (RunStatus.COMPLETED, b"begun\ndone\n")

    @pytest.mark.line
    def test_many_jobs_are_observed_in_one_exchange(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_ids = [bench.shell(target, f"echo {number}; exit {number}") for number in range(12)]
        ended = [wait_until_ended(target, run_id) for run_id in run_ids]

        answer = target.observe({run_id: Seen() for run_id in run_ids}, 5)

        assert [answer[run_id].exit_code for run_id in run_ids] == list(range(12))
        assert [answer[run_id].log for run_id in run_ids] == [state.log for state in ended]

    @pytest.mark.line
    def test_long_logs_of_many_jobs_share_an_exchange(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        script = "head -c 2000000 /dev/zero"
        run_ids = [bench.shell(target, script) for _ in range(10)]
        _ = [wait_until_ended(target, run_id) for run_id in run_ids]

        answer = target.observe({run_id: Seen() for run_id in run_ids}, 5)

        lengths = [len(answer[run_id].log) for run_id in run_ids]
        assert min(lengths) > 100_000
        assert sum(lengths) <= 16 * 1024 * 1024

    @pytest.mark.line
    def test_news_end_the_wait(self, target: ComputeTarget, bench: JobBench) -> None:
        quiet = bench.shell(target, f"{_UNTIL_RELEASED}; true")
        loud = bench.shell(target, f"{_UNTIL_RELEASED}; true")
        seen = {
            run_id: Seen(wait_until(target, run_id, RunStatus.RUNNING).status)
            for run_id in (quiet, loud)
        }
        timer = threading.Timer(0.3, (bench.outside / "release").touch)
        began = time.monotonic()
        timer.start()

        answer = target.observe(seen, _WAIT_SECONDS)

        elapsed = time.monotonic() - began
        assert any(state.status is not RunStatus.RUNNING for state in answer.values())
        assert 0.25 < elapsed < _WAIT_SECONDS
        assert wait_until_ended(target, quiet).status is RunStatus.COMPLETED
        assert wait_until_ended(target, loud).status is RunStatus.COMPLETED

    @pytest.mark.line
    def test_the_deadline_ends_the_wait_without_news(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, _UNTIL_RELEASED)
        wait_until(target, run_id, RunStatus.RUNNING)
        began = time.monotonic()

        answer = target.observe({run_id: Seen(RunStatus.RUNNING)}, 0.5)

        assert time.monotonic() - began > 0.45
        assert answer[run_id].status is RunStatus.RUNNING
        (bench.outside / "release").touch()
        wait_until_ended(target, run_id)

    def test_an_ended_job_is_news_to_everybody(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "true")
        wait_until_ended(target, run_id)
        began = time.monotonic()

        target.observe({run_id: Seen(RunStatus.COMPLETED)}, _WAIT_SECONDS)

        assert time.monotonic() - began < _WAIT_SECONDS

    @pytest.mark.driver(elsewhere=True)
    @pytest.mark.line
    def test_a_discarded_job_is_unknown_and_may_be_discarded_again(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "mkdir outputs/a; chmod 0 outputs/a; chmod a-w outputs")
        wait_until_ended(target, run_id)

        target.discard(run_id)
        target.discard(run_id)

        assert target.observe({run_id: Seen()}, 0) == {}

    def test_a_job_that_lives_is_not_discarded(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, f"{_UNTIL_RELEASED}; echo done")
        wait_until(target, run_id, RunStatus.RUNNING)

        with pytest.raises(TargetError, match="has not ended; cancel it first"):
            target.discard(run_id)

        (bench.outside / "release").touch()
        assert wait_until_ended(target, run_id).log == b"done\n"
