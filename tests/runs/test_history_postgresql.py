"""The run history in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.run_history import RunHistoryContract

if TYPE_CHECKING:
    from tests.services.postgresql import PostgresqlServer


@pytest.mark.postgres
class TestPostgresqlRunHistory(RunHistoryContract):
    @pytest.fixture
    def history_url(self, postgresql: PostgresqlServer) -> str:
        return postgresql.create_database()
