"""Where a test's run history lies, in either database, and ways to reach into it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text

from airflow_mltrain.runs.history import open_run_history
from tests.contracts.history_bench import a_run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.postgresql import PostgresqlServer


@pytest.fixture
def history_file(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def history_url(request: pytest.FixtureRequest, history_file: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{history_file}"
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.create_database()


def execute(url: str, *statements: str) -> None:
    """Run statements on the database behind our back."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def use_first(url: str) -> str:
    """Use a history that nobody has used yet."""
    with closing(open_run_history(url)) as history:
        return history.add(a_run()).run_id
