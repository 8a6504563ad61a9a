"""An SSH host as a compute target: the contract, through a real sshd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.compute_target import ComputeTargetContract
from tests.services.ssh_host import SshHost
from tests.targets.ssh_fixtures import ConnectTo, SshFixtures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mltrain.targets.base import ComputeTarget


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    noise = "echo 'Welcome!'; echo oh >&2\n"
    with SshHost(own_processes=False, home_name="my home", bashrc=noise) as host:
        yield host


class TestSshTarget(SshFixtures, ComputeTargetContract):
    """As a user who has nothing but a home, with spaces in its name, and a noisy login."""

    @pytest.fixture
    def target(self, host: SshHost, connect_to: ConnectTo) -> ComputeTarget:
        return connect_to(root=f'{host.make_shared_folder()}/the team\'s "root"')


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
        self, bastion: SshHost, connect_to: ConnectTo, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[ComputeTarget]:
        monkeypatch.setenv("AIRFLOW_CONN_BASTION", bastion.connection_json())
        logins = bastion.logins()
        yield connect_to(jump_host="bastion")
        assert bastion.logins() > logins
