"""What tests of jobs on an SSH host have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from airflow_mltrain.targets.registry import connect
from tests.services.jobs import JobBench, shared_bench
from tests.services.ssh_host import SshHost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget


class ConnectTo(Protocol):
    """Makes the connection `gpu_box`, and gives the compute target that it leads to."""

    def __call__(self, **mltrain: Any) -> ComputeTarget:
        """`mltrain` adds to that part of its extra, which has a root of its own."""


class SshFixtures:
    """A bench that shares a folder with `host`, and targets there."""

    @pytest.fixture
    def bench(self, host: SshHost) -> Iterator[JobBench]:
        with shared_bench(host.make_shared_folder()) as bench:
            yield bench

    @pytest.fixture
    def connect_to(
        self, host: SshHost, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> ConnectTo:
        def connect_to(**mltrain: Any) -> ComputeTarget:
            told = {"root": f"{host.make_shared_folder()}/root", **mltrain}
            monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", host.connection_json(mltrain=told))
            return connect("gpu_box", settings)

        return connect_to

    @pytest.fixture
    def target(self, connect_to: ConnectTo) -> ComputeTarget:
        return connect_to()

    @pytest.fixture
    def same_target(self, target: ComputeTarget, settings: Settings) -> ComputeTarget:
        return connect(target.name, settings)
