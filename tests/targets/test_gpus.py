"""Cards of machines, declared as there are none here: each has one run at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Resources
from airflow_mltrain.targets.local import LocalTarget
from tests.contracts.target_gpu import GpuContract
from tests.services.jobs import JobBench, wait_until_ended
from tests.targets.ssh_fixtures import ConnectTo, SshFixtures

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.targets.base import ComputeTarget


class TestLocalGpus(GpuContract):
    @pytest.fixture
    def two_cards(self, tmp_path: Path) -> ComputeTarget:
        return LocalTarget("local", tmp_path / "root", gpus=["0", "1"])

    def test_a_machine_that_has_none_says_so(self, tmp_path: Path, bench: JobBench) -> None:
        target = LocalTarget("local", tmp_path / "root")

        run_id = bench.shell(target, "true", resources=Resources(gpus=1))

        ended = wait_until_ended(target, run_id)
        assert ended.status is RunStatus.FAILED
        assert "asks for 1 GPUs, and its target has none" in str(ended.reason)


class TestSshGpus(SshFixtures, GpuContract):
    @pytest.fixture
    def two_cards(self, connect_to: ConnectTo) -> ComputeTarget:
        return connect_to(gpus=2)
