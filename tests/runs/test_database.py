"""The database behind the run history: where it lies, who shares it, and what breaks it."""

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

from airflow_mltrain.errors import (
    ConfigurationError,
    RunHistoryError,
    RunHistoryUnavailableError,
    RunNotFoundError,
)
from airflow_mltrain.runs.history import open_run_history
from airflow_mltrain.runs.status import RunStatus
from tests.contracts.history_bench import a_run
from tests.services.history import execute, use_first
from tests.services.processes import run_together
from tests.services.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.postgresql import PostgresqlServer


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        require("tmpfs", "only root may mount a small disk to fill")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


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

    def test_a_missing_postgresql_driver_is_named_with_its_remedy(self) -> None:
        # given
        program = (
            "import sys; sys.modules['psycopg'] = None;"
            "from airflow_mltrain.runs.history import open_run_history;"
            "open_run_history('postgresql://host/mltrain').list_runs()"
        )

        # when
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

        # then
        assert b"ConfigurationError" in ended.stderr
        assert b"pip install 'airflow-mltrain[postgres]'" in ended.stderr

    def test_a_file_that_is_no_database_is_left_alone(self, history_file: Path) -> None:
        # given
        history_file.write_text("a letter to my mother, by no means a database" * 50)
        before = history_file.read_bytes()

        # when
        with pytest.raises(RunHistoryError, match=r"history\.db"):
            use_first(f"sqlite:///{history_file}")

        # then
        assert history_file.read_bytes() == before


class TestSharing:
    def test_a_forked_process_uses_connections_of_its_own(self, history_url: str) -> None:
        # when
        run_together(use_across_a_fork, [history_url])

        # then
        with closing(open_run_history(history_url)) as history:
            kept = {run.run_id for run in history.list_runs()}
        assert kept == {"before the fork", "in the parent", "in the child", "after the child"}

    def test_readers_do_not_wait_for_a_writer(self, history_file: Path) -> None:
        # given
        run_id = use_first(f"sqlite:///{history_file}")
        history = open_run_history(f"sqlite:///{history_file}")
        with closing(sqlite3.connect(history_file, isolation_level=None, timeout=0)) as writer:
            writer.execute("BEGIN IMMEDIATE")

            # when
            found = history.get(run_id)

        # then
        assert found.run_id == run_id

    def test_a_file_that_was_removed_is_made_anew(self, history_file: Path) -> None:
        # given
        history = open_run_history(f"sqlite:///{history_file}")
        run_id = history.add(a_run()).run_id
        history_file.unlink()
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
