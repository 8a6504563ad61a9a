"""This machine as a compute target: the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.targets.local import LocalTarget
from tests.contracts.compute_target import ComputeTargetContract

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.targets.base import ComputeTarget

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
