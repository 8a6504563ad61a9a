"""What every compute target promises about what lies on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from tests.contracts.target_bench import BenchContract
from tests.services.jobs import wait_until, wait_until_ended

if TYPE_CHECKING:
    from airflow_mltrain.targets.base import ComputeTarget
    from tests.services.jobs import JobBench


class InventoryContract(BenchContract):
    @pytest.mark.line
    def test_jobs_are_listed_and_blobs_go_that_none_of_them_needs(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        # given
        files = {"train.py": "print('one')"}
        ended = bench.job(target, "python3", "train.py", files=files)
        target.start(ended)
        wait_until_ended(target, ended.run_id)
        running = bench.python(target, "import time; time.sleep(60)")
        wait_until(target, running, RunStatus.RUNNING)
        waiting = bench.unsent_job("python3", "train.py", files=files)

        # when
        listed = {job.run_id: job.status for job in target.list_jobs()}
        would_go = target.collect_blobs(0, is_dry_run=True)
        gone = target.collect_blobs(0)

        # then
        assert listed.items() >= {
            (ended.run_id, RunStatus.COMPLETED),
            (running, RunStatus.RUNNING),
        }
        assert would_go == gone
        assert gone.number >= 2
        assert target.missing_of_snapshot(ended.snapshot_id) is None
        assert target.collect_blobs(0).number == 0
        assert not target.start(waiting)  # what it needs has to be sent again
        bench.send(target, waiting)
        assert target.start(waiting)
        assert wait_until_ended(target, waiting.run_id).log == b"one\n"
        target.cancel(running)
        wait_until_ended(target, running)
