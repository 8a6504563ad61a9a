"""The run history in a SQLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.run_history import RunHistoryContract

if TYPE_CHECKING:
    from pathlib import Path


class TestSqliteRunHistory(RunHistoryContract):
    @pytest.fixture
    def history_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/mltrain/history.db"
