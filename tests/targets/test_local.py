"""This machine as a compute target: the contract."""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.local import LocalTarget
from tests.contracts.compute_target import ComputeTargetContract
from tests.services.jobs import wait_for, wait_until_ended

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.targets.base import ComputeTarget
    from tests.services.jobs import JobBench

HOSTILE_FOLDER = 'the team\'s "root"\n $HOME; 日本'


class TestLocalTarget(ComputeTargetContract):
    """All of it in a folder whose name no shell would survive."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path / HOSTILE_FOLDER

    @pytest.fixture
    def target(self, root: Path) -> ComputeTarget:
        return LocalTarget("local", root)

    @pytest.fixture
    def same_target(self, root: Path) -> ComputeTarget:
        return LocalTarget("local", root)

    def test_a_job_may_start_another_which_outlives_it(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        once = 'echo ran >> "$OUTSIDE/ran"'
        inner = bench.job(target, "sh", "-c", f"sleep 0.5; env -i sleep 0.5; {once}")
        work = bench.folder / "work.pickle"
        work.write_bytes(pickle.dumps((target, inner)))
        starter = (
            f"import pickle; target, job = pickle.load(open({str(work)!r}, 'rb')); "
            "target.start(job)"
        )
        outer = bench.job(target, sys.executable, "-c", starter)

        target.start(outer)

        assert wait_until_ended(target, outer.run_id).status is RunStatus.COMPLETED
        assert wait_until_ended(target, inner.run_id).status is RunStatus.COMPLETED
        wait_for((bench.outside / "ran").exists)
