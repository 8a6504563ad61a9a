"""An SSH host as a compute target: the contract, through a real sshd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.targets.registry import connect
from tests.contracts.compute_target import ComputeTargetContract
from tests.services.jobs import JobBench, shared_bench
from tests.services.ssh_host import SshHost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    noise = "echo 'Welcome!'; echo oh >&2\n"
    with SshHost(own_processes=False, home_name="my home", bashrc=noise) as host:
        yield host


class TestSshTarget(ComputeTargetContract):
    """As a user who has nothing but a home, with spaces in its name, and a noisy login."""

    @pytest.fixture
    def bench(self, host: SshHost) -> Iterator[JobBench]:
        with shared_bench(host.make_shared_folder()) as bench:
            yield bench

    @pytest.fixture
    def target(
        self, host: SshHost, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> ComputeTarget:
        root = f'{host.make_shared_folder()}/the team\'s "root"'
        monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", host.connection_json(mltrain={"root": root}))
        return connect("gpu_box", settings)

    @pytest.fixture
    def same_target(self, target: ComputeTarget, settings: Settings) -> ComputeTarget:
        return connect(target.name, settings)


@pytest.fixture(scope="module")
def bastion() -> Iterator[SshHost]:
    with SshHost() as bastion:
        yield bastion


class TestSshTargetBehindAJumpHost(TestSshTarget):
    """The same, on a host that is reached through another one.

    What does not depend on the way there is tried without it.
    """

    selection = "line"

    @pytest.fixture
    def target(
        self,
        host: SshHost,
        bastion: SshHost,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[ComputeTarget]:
        mltrain = {"root": f"{host.make_shared_folder()}/root", "jump_host": "bastion"}
        monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", host.connection_json(mltrain=mltrain))
        monkeypatch.setenv("AIRFLOW_CONN_BASTION", bastion.connection_json())
        logins = bastion.logins()
        yield connect("gpu_box", settings)
        assert bastion.logins() > logins
