"""Scripts that spoil the folders of their jobs, on this machine and on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.targets.local import LocalTarget
from tests.contracts.target_spoiling import SpoilingContract
from tests.targets.ssh_fixtures import SshFixtures

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.targets.base import ComputeTarget


class TestLocal(SpoilingContract):
    """As whoever runs the tests, whom modes may not bind."""

    @pytest.fixture
    def target(self, tmp_path: Path) -> ComputeTarget:
        return LocalTarget("local", tmp_path / "root")


class TestSsh(SshFixtures, SpoilingContract):
    """As a user who is bound by modes."""
