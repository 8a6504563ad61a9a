"""Scripts that spoil the folders of their jobs, on this machine and on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.targets.local import LocalTarget
from airflow_mltrain.targets.registry import connect
from tests.contracts.target_spoiling import SpoilingContract
from tests.services.jobs import JobBench, shared_bench
from tests.services.ssh_host import SshHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget


class TestLocal(SpoilingContract):
    """As whoever runs the tests, whom modes may not bind."""

    @pytest.fixture
    def target(self, tmp_path: Path) -> ComputeTarget:
        return LocalTarget("local", tmp_path / "root")


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    with SshHost(own_processes=False) as host:
        yield host


class TestSsh(SpoilingContract):
    """As a user who is bound by modes."""

    @pytest.fixture
    def bench(self, host: SshHost) -> Iterator[JobBench]:
        with shared_bench(host.make_shared_folder()) as bench:
            yield bench

    @pytest.fixture
    def target(
        self, host: SshHost, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> ComputeTarget:
        mltrain = {"root": f"{host.make_shared_folder()}/root"}
        monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", host.connection_json(mltrain=mltrain))
        return connect("gpu_box", settings)
