"""The database behind the run history: where it lies, how it grows up, and what breaks it."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import traceback
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from airflow_mltrain.errors import (
    ConfigurationError,
    RunHistoryError,
    RunHistoryUnavailableError,
    RunNotFoundError,
    SchemaVersionError,
)
from airflow_mltrain.runs.history import open_run_history
from airflow_mltrain.runs.schema import SCHEMA_VERSION, VERSION_TABLE, metadata
from airflow_mltrain.runs.status import RunStatus
from tests.contracts.run_history import a_run
from tests.services.processes import run_together
from tests.services.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.postgresql import PostgresqlServer

pytest_plugins = ["tests.services.postgresql"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def history_url(request: pytest.FixtureRequest, file: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{file}"
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.create_database()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        require("tmpfs", "only root may mount a small disk to fill")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


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


def use_across_a_fork(url: str) -> None:
    """Use one history object in a process and in its forked child at once."""
    with closing(open_run_history(url)) as history:
        history.add(a_run("before the fork"))
        child = os.fork()
        history.add(a_run("in the parent" if child else "in the child"))
        if not child:
            history.close()
            os._exit(0)
        os.waitpid(child, 0)
        history.add(a_run("after the child"))


class TestPlace:
    def test_opening_a_history_touches_nothing(self, tmp_path: Path) -> None:
        # when
        open_run_history(f"sqlite:///{tmp_path}/new/history.db")

        # then
        assert list(tmp_path.iterdir()) == []

    def test_a_new_folder_is_the_owners_alone(self, tmp_path: Path) -> None:
        # given
        folder = tmp_path / "a" / "b"

        # when
        use_first(f"sqlite:///{folder}/history.db")

        # then
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_a_hostile_path_is_only_a_path(self, tmp_path: Path) -> None:
        # given
        file = tmp_path / "it's 100% \u00fc" / "history.db"

        # when
        use_first(f"sqlite:///{file}")

        # then
        assert file.is_file()

    def test_a_relative_path_stays_where_it_was_opened(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # given
        monkeypatch.chdir(tmp_path)
        history = open_run_history("sqlite:///history.db")
        monkeypatch.chdir("/")

        # when
        history.add(a_run())

        # then
        assert (tmp_path / "history.db").is_file()

    @pytest.mark.parametrize(
        ("url", "complaint"),
        [
            ("mysql://root:secret@host/db", "mysql"),
            ("sqlite://", "file"),
            ("sqlite:///:memory:", "file"),
            ("/srv/history.db", "looks like"),
            ("", "looks like"),
            ("postgresql://user:secret@host:port/db", "looks like"),
        ],
    )
    def test_a_url_that_cannot_work_is_refused_at_once(self, url: str, complaint: str) -> None:
        # when
        with pytest.raises(ConfigurationError, match=complaint) as caught:
            open_run_history(url)

        # then
        assert "secret" not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
    def test_any_spelling_of_postgresql_will_do(self, scheme: str) -> None:
        # when
        history = open_run_history(f"{scheme}://me:secret@db/mltrain?sslmode=require")

        # then
        assert history.address == "postgresql+psycopg://me:***@db/mltrain"

    def test_a_file_that_is_no_database_is_left_alone(self, file: Path) -> None:
        # given
        file.write_text("a letter to my mother, by no means a database" * 50)
        before = file.read_bytes()

        # when
        with pytest.raises(RunHistoryError, match=r"history\.db"):
            use_first(f"sqlite:///{file}")

        # then
        assert file.read_bytes() == before


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

    def test_a_history_that_is_up_to_date_needs_no_alembic(self, file: Path) -> None:
        # given
        use_first(f"sqlite:///{file}")
        program = (
            "import sys; from airflow_mltrain.runs.history import open_run_history;"
            "print(len(open_run_history(sys.argv[1]).list_runs()), 'alembic' in sys.modules)"
        )

        # when
        command = [sys.executable, "-c", program, f"sqlite:///{file}"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

        # then
        assert printed.split() == ["1", "False"]


class TestSharing:
    def test_a_forked_process_uses_connections_of_its_own(self, history_url: str) -> None:
        # when
        run_together(use_across_a_fork, [history_url])

        # then
        with closing(open_run_history(history_url)) as history:
            kept = {run.run_id for run in history.list_runs()}
        assert kept == {"before the fork", "in the parent", "in the child", "after the child"}

    def test_readers_do_not_wait_for_a_writer(self, file: Path) -> None:
        # given
        run_id = use_first(f"sqlite:///{file}")
        history = open_run_history(f"sqlite:///{file}")
        with closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as writer:
            writer.execute("BEGIN IMMEDIATE")

            # when
            found = history.get(run_id)

        # then
        assert found.run_id == run_id

    def test_a_file_that_was_removed_is_made_anew(self, file: Path) -> None:
        # given
        history = open_run_history(f"sqlite:///{file}")
        run_id = history.add(a_run()).run_id
        file.unlink()
        with pytest.raises(RunHistoryError):
            history.get(run_id)

        # when / then
        with pytest.raises(RunNotFoundError):
            history.get(run_id)


class TestTrouble:
    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        # given
        (tmp_path / "taken").write_text("a file")
        history = open_run_history(f"sqlite:///{tmp_path}/taken/history.db")

        # when / then
        with pytest.raises(RunHistoryUnavailableError, match="taken"):
            history.add(a_run())

    def test_a_full_disk_loses_nothing_that_was_kept(self, small_disk: Path) -> None:
        # given
        history = open_run_history(f"sqlite:///{small_disk}/history.db")
        run_id = history.add(a_run()).run_id
        filler = small_disk / "filler"
        with pytest.raises(OSError, match="No space"):
            filler.write_bytes(bytes(4096 * 1024))

        # when
        with pytest.raises(RunHistoryUnavailableError, match=r"disk|open"):
            history.advance(run_id, RunStatus.FAILED, error="x" * 1_000_000)

        # then
        filler.unlink()
        assert history.get(run_id).status is RunStatus.NOT_STARTED
        assert history.advance(run_id, RunStatus.RUNNING).status is RunStatus.RUNNING

    @pytest.mark.postgres
    def test_a_server_that_was_killed_is_used_again_after_its_restart(
        self,
        postgresql: PostgresqlServer,
    ) -> None:
        # given
        with closing(open_run_history(postgresql.create_database())) as history:
            run_id = history.add(a_run()).run_id
            postgresql.kill()

            # when
            try:
                with pytest.raises(RunHistoryUnavailableError) as caught:
                    history.advance(run_id, RunStatus.RUNNING)
            finally:
                postgresql.start()

            # then
            assert "hunter2" not in "".join(traceback.format_exception(caught.value))
            assert history.get(run_id).status is RunStatus.NOT_STARTED
            assert history.advance(run_id, RunStatus.RUNNING).status is RunStatus.RUNNING

    @pytest.mark.postgres
    def test_a_server_that_is_down_at_first_is_used_when_it_is_up(
        self,
        postgresql: PostgresqlServer,
    ) -> None:
        # given
        with closing(open_run_history(postgresql.create_database())) as history:
            postgresql.stop()

            # when
            try:
                with pytest.raises(RunHistoryUnavailableError, match="does not answer"):
                    history.add(a_run("early"))
            finally:
                postgresql.start()

            # then
            history.add(a_run("late"))
            assert [run.run_id for run in history.list_runs()] == ["late"]

    @pytest.mark.postgres
    def test_sessions_ended_by_the_server_go_unnoticed(self, postgresql: PostgresqlServer) -> None:
        # given
        url = postgresql.create_database()
        with closing(open_run_history(url)) as history:
            run_id = history.add(a_run()).run_id
            execute(
                url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )

            # when / then
            assert history.get(run_id).run_id == run_id

    @pytest.mark.postgres
    def test_a_user_who_may_not_make_tables_is_told_so(self, postgresql: PostgresqlServer) -> None:
        # given
        url = postgresql.create_database()
        execute(url, "CREATE ROLE reader LOGIN")
        history = open_run_history(url.replace("postgres:", "reader:", 1))

        # when / then
        with closing(history), pytest.raises(RunHistoryError, match="permission denied"):
            history.list_runs()
