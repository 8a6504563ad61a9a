"""What every compute target with cards promises about them: each has one run at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.errors import JobStartError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Resources
from tests.contracts.target_bench import BenchContract
from tests.services.jobs import wait_for_log, wait_until, wait_until_ended

if TYPE_CHECKING:
    from airflow_mltrain.targets.base import ComputeTarget
    from tests.services.jobs import JobBench

_SHOW = (
    'echo "cards $CUDA_VISIBLE_DEVICES."; while [ ! -e "$OUTSIDE/release" ]; do sleep 0.02; done'
)


class GpuContract(BenchContract):
    """Run by a subclass with the fixture `two_cards`: a target that declares the cards 0 and 1."""

    def test_each_card_goes_to_one_run_and_the_rest_wait(
        self, two_cards: ComputeTarget, bench: JobBench
    ) -> None:
        one = Resources(gpus=1)
        first = bench.shell(two_cards, _SHOW, resources=one)
        wait_for_log(two_cards, first, b"cards 0.")
        second = bench.shell(two_cards, _SHOW, resources=one)
        wait_for_log(two_cards, second, b"cards 1.")

        third = bench.shell(two_cards, _SHOW, resources=one)

        assert wait_until(two_cards, third, RunStatus.QUEUED, RunStatus.RUNNING).log == b""
        (bench.outside / "release").touch()
        ended = [wait_until_ended(two_cards, run_id) for run_id in (first, second, third)]
        assert {state.status for state in ended} == {RunStatus.COMPLETED}
        assert ended[2].log in (b"cards 0.\n", b"cards 1.\n")

    def test_a_run_that_asks_for_all_cards_gets_them_together(
        self, two_cards: ComputeTarget, bench: JobBench
    ) -> None:
        (bench.outside / "release").touch()

        run_id = bench.shell(two_cards, _SHOW, resources=Resources(gpus=2))

        assert wait_until_ended(two_cards, run_id).log == b"cards 0,1.\n"

    def test_a_run_that_asks_for_no_card_does_not_wait_for_one(
        self, two_cards: ComputeTarget, bench: JobBench
    ) -> None:
        busy = bench.shell(two_cards, _SHOW, resources=Resources(gpus=2))
        wait_for_log(two_cards, busy, b"cards 0,1.")

        run_id = bench.shell(two_cards, "echo none")

        assert wait_until_ended(two_cards, run_id).log == b"none\n"
        (bench.outside / "release").touch()
        assert wait_until_ended(two_cards, busy).status is RunStatus.COMPLETED

    def test_more_cards_than_there_are_is_refused(
        self, two_cards: ComputeTarget, bench: JobBench
    ) -> None:
        job = bench.job(two_cards, "true", resources=Resources(gpus=3))

        with pytest.raises(JobStartError, match=r"asks for 3 GPUs.*declares 2.*`gpus`"):
            two_cards.start(job)
