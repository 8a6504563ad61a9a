"""The tables of the run history: how they are made, upgraded, and refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from airflow_mltrain.errors import (
    RunHistoryError,
    SchemaVersionError,
)
from airflow_mltrain.runs import migrations
from airflow_mltrain.runs.history import open_run_history
from airflow_mltrain.runs.schema import SCHEMA_VERSION, VERSION_TABLE, metadata
from airflow_mltrain.runs.status import RunStatus
from tests.contracts.history_bench import a_run
from tests.contracts.history_resolution import a_resolution
from tests.services.history import execute, use_first
from tests.services.processes import run_together

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import RunRecord


def make_history_of_revision_0001(url: str) -> None:
    """The tables as the first version of this package made them, with a run and what it left."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    execute(
        url,
        "INSERT INTO mltrain_run (run_id, experiment, target, snapshot_id, config, created_at,"
        " status, generation, is_started, exit_code, metrics_position, tags, properties)"
        " VALUES ('old', 'churn', 'local', '5f2a', '{}', '2026-01-01 12:00:00', 'Completed', 1,"
        " true, 0, 9, '{\"a\": \"b\"}', '{}')",
        "INSERT INTO mltrain_metric VALUES ('old', 0, 0, 'loss', '0.5', 'null',"
        " '2026-01-01 12:00:00')",
        "INSERT INTO mltrain_log_position VALUES ('old', 'task', 7)",
        "INSERT INTO mltrain_environment VALUES ('torch', 1, '{\"name\": \"torch\"}')",
    )


def read_old_run(url: str) -> RunRecord:
    """Use a history that was made by an older version of this package."""
    with closing(open_run_history(url)) as history:
        return history.get("old")


def differences_from_code(url: str) -> tuple[list[object], str | None]:
    """How the tables differ from those that the code uses, and their version."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"version_table": VERSION_TABLE, "compare_type": True},
        )
        differences = compare_metadata(context, metadata)
        version = context.get_current_revision()
    engine.dispose()
    return list(differences), version


class TestUpgrade:
    def test_a_history_of_the_first_revision_is_upgraded_with_all_that_is_in_it(
        self, history_url: str
    ) -> None:
        # given
        make_history_of_revision_0001(history_url)

        # when
        run = read_old_run(history_url)

        # then
        assert (run.status, run.exit_code, run.tags) == (RunStatus.COMPLETED, 0, {"a": "b"})
        assert run.environment_key is None
        with closing(open_run_history(history_url)) as history:
            assert [point.value for point in history.get_metrics("old")] == [0.5]
            assert history.log_position("old", "task") == 7
            assert history.environments.find("torch") == (1, {"name": "torch"})

    def test_an_upgraded_history_keeps_environments_for_its_old_runs(
        self, history_url: str
    ) -> None:
        # given
        make_history_of_revision_0001(history_url)

        # when
        with closing(open_run_history(history_url)) as history:
            history.keep_resolved("old", a_resolution("k1"))
            history.environments.label("torch", 1, "production")

            # then
            assert history.get("old").environment_key == "k1"
            assert history.environments.find("torch", label="production") is not None

    def test_an_upgraded_history_keeps_what_was_archived(self, history_url: str) -> None:
        # given
        make_history_of_revision_0001(history_url)

        # when
        with closing(open_run_history(history_url)) as history:
            history.experiments.archive("churn", datetime(2026, 2, 1, tzinfo=timezone.utc))

            # then
            [churn] = history.experiments.list()
            assert churn.archived_at is not None

    def test_an_upgraded_history_has_the_same_tables_as_a_new_one(self, history_url: str) -> None:
        # given
        make_history_of_revision_0001(history_url)

        # when
        read_old_run(history_url)

        # then
        assert differences_from_code(history_url) == ([], SCHEMA_VERSION)

    def test_an_upgrade_that_fails_leaves_the_old_history_as_it_was(
        self, history_url: str
    ) -> None:
        # given
        make_history_of_revision_0001(history_url)
        execute(history_url, "CREATE TABLE mltrain_resolution (in_the_way integer)")
        with pytest.raises(RunHistoryError, match="mltrain_resolution"):
            read_old_run(history_url)

        # when
        execute(history_url, "DROP TABLE mltrain_resolution")

        # then
        assert read_old_run(history_url).run_id == "old"

    def test_eight_processes_that_find_an_old_history_at_once_all_use_it(
        self, history_url: str
    ) -> None:
        # given
        make_history_of_revision_0001(history_url)

        # when
        runs = run_together(read_old_run, [history_url] * 8)

        # then
        assert {run.run_id for run in runs} == {"old"}


class TestSchema:
    def test_the_revisions_make_the_tables_that_the_code_uses(self, history_url: str) -> None:
        # given
        use_first(history_url)

        # when
        differences, version = differences_from_code(history_url)

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

    @pytest.mark.parametrize("which", ["true", "experiment = 'churn'"])
    def test_the_newest_runs_are_found_without_looking_at_the_others(
        self, history_file: Path, which: str
    ) -> None:
        # given
        use_first(f"sqlite:///{history_file}")
        newest = (
            f"SELECT * FROM mltrain_run WHERE parent_run_id IS NULL AND {which} AND"  # noqa: S608
            " (created_at, run_id) < ('2026-11-23', 'r') ORDER BY created_at DESC, run_id DESC"
        )

        # when
        with closing(sqlite3.connect(history_file)) as connection:
            plan = [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {newest}")]

        # then
        assert len(plan) == 1  # no sorting
        assert "USING INDEX" in plan[0]
        assert "(created_at,run_id)<" in plan[0]

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
