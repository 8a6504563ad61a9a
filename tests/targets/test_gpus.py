"""Cards of machines, declared as there are none here: each has one run at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Resources
from airflow_mltrain.targets.local import LocalTarget
from airflow_mltrain.targets.registry import connect
from tests.contracts.target_gpu import GpuContract
from tests.services.jobs import JobBench, shared_bench, wait_until_ended
from tests.services.ssh_host import SshHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_mltrain.settings import Settings
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


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    with SshHost(own_processes=False) as host:
        yield host


class TestSshGpus(GpuContract):
    @pytest.fixture
    def bench(self, host: SshHost) -> Iterator[JobBench]:
        with shared_bench(host.make_shared_folder()) as bench:
            yield bench

    @pytest.fixture
    def two_cards(
        self, host: SshHost, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> ComputeTarget:
        told = {"root": f"{host.make_shared_folder()}/root", "gpus": 2}
        monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", host.connection_json(mltrain=told))
        return connect("gpu_box", settings)
