"""The tables of the run history: how they are made, upgraded, and refused."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from airflow_mltrain.errors import (
    RunHistoryError,
    SchemaVersionError,
)
from airflow_mltrain.runs.history import open_run_history
from airflow_mltrain.runs.schema import SCHEMA_VERSION, VERSION_TABLE, metadata
from tests.contracts.history_bench import a_run
from tests.services.history import execute, use_first
from tests.services.processes import run_together

if TYPE_CHECKING:
    from pathlib import Path


pytest_plugins = ["tests.services.history", "tests.services.postgresql"]


class TestSchema:
    def test_the_revisions_make_the_tables_that_the_code_uses(self, history_url: str) -> None:
        # given
        use_first(history_url)
        engine = create_engine(history_url.replace("postgresql:", "postgresql+psycopg:"))

        # when
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection,
                opts={"version_table": VERSION_TABLE, "compare_type": True},
            )
            differences = compare_metadata(context, metadata)
            version = context.get_current_revision()
        engine.dispose()

        # then
        assert differences == []
        assert version == SCHEMA_VERSION

    def test_a_history_of_a_newer_package_is_refused(self, history_url: str) -> None:
        # given
        run_id = use_first(history_url)
        execute(history_url, "UPDATE mltrain_schema_version SET version_num = '9000'")
        history = open_run_history(history_url)

        # when
        with closing(history), pytest.raises(SchemaVersionError) as caught:
            history.get(run_id)

        # then
        assert "9000" in str(caught.value)
        assert SCHEMA_VERSION in str(caught.value)
        assert "upgrade" in str(caught.value)

    def test_an_upgrade_that_fails_leaves_nothing_behind(self, history_url: str) -> None:
        # given
        execute(history_url, "CREATE TABLE mltrain_environment (in_the_way integer)")
        history = open_run_history(history_url)

        # when
        with closing(history), pytest.raises(RunHistoryError, match="mltrain_environment"):
            history.add(a_run("refused"))
        execute(history_url, "DROP TABLE mltrain_environment")

        # then
        with closing(history):
            history.add(a_run("kept"))
            assert [run.run_id for run in history.list_runs()] == ["kept"]

    def test_a_database_shared_with_others_keeps_their_revisions(self, history_url: str) -> None:
        # given
        execute(
            history_url,
            "CREATE TABLE alembic_version (version_num varchar(32))",
            "INSERT INTO alembic_version VALUES ('theirs')",
        )

        # when
        use_first(history_url)

        # then
        engine = create_engine(history_url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect() as connection:
            theirs = connection.scalar(text("SELECT version_num FROM alembic_version"))
        engine.dispose()
        assert theirs == "theirs"

    def test_eight_first_uses_at_once_all_succeed(self, history_url: str) -> None:
        # when
        run_ids = run_together(use_first, [history_url] * 8)

        # then
        with closing(open_run_history(history_url)) as history:
            assert {run.run_id for run in history.list_runs()} == set(run_ids)

    def test_a_history_that_is_up_to_date_needs_no_alembic(self, history_file: Path) -> None:
        # given
        use_first(f"sqlite:///{history_file}")
        program = (
            "import sys; from airflow_mltrain.runs.history import open_run_history;"
            "print(len(open_run_history(sys.argv[1]).list_runs()), 'alembic' in sys.modules)"
        )

        # when
        command = [sys.executable, "-c", program, f"sqlite:///{history_file}"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

        # then
        assert printed.split() == ["1", "False"]
