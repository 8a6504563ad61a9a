"""A run history with runs in it, and a web server that shows them."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.plugin.app import create_app
from airflow_mltrain.runs.history import open_run_history
from airflow_mltrain.runs.record import MetricRecord, RunRecord, SubmissionKey
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from airflow_mltrain.workspace import Workspace
from tests.contracts.history_bench import add_metrics
from tests.fakes.viewer import Colleague
from tests.services.artifacts import folder_store
from tests.services.object_store import object_store, object_store_server
from tests.services.web_server import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["object_store", "object_store_server"]

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=timezone.utc)
KEY = SubmissionKey("retrain", "manual__2026-11-23", "train")


def a_run(run_id: str = "churn_1_aa", **facts: Any) -> RunRecord:
    """A run that a Dag submitted."""
    record = RunRecord(
        run_id=run_id,
        experiment="churn",
        target="gpu-host",
        snapshot_id="5f2a77",
        config={"script": "train.py", "arguments": ["--rate", 0.1], "source_directory": "/src"},
        created_at=NOON,
        submission=KEY,
    )
    return replace(record, **facts)


def a_metric(name: str, value: Any) -> MetricRecord:
    """A value that a script logged."""
    return MetricRecord(name=name, value=value, logged_at=NOON)


class Archive:
    """A workspace to fill with runs."""

    def __init__(self, folder: Path) -> None:
        history_url = f"sqlite:///{folder}/history.db"
        self.workspace = Workspace(Settings(history_url, folder / "artifacts", folder / "local"))

    def add(self, run: RunRecord, *metrics: MetricRecord) -> RunRecord:
        """Keep a run that goes on, with its metrics."""
        history = self.workspace.history
        history.add(run)
        add_metrics(history, run.run_id, metrics, position=0, next_position=1)
        return history.advance(run.run_id, RunStatus.RUNNING, is_started=True, started_at=NOON)

    def add_ended(
        self,
        run: RunRecord,
        status: RunStatus = RunStatus.COMPLETED,
        *,
        files: dict[str, bytes] | None = None,
        exit_code: int = 0,
        error: str | None = None,
    ) -> Path:
        """Keep a run that has ended, and what it left behind; returns the folder of that."""
        self.add(run)
        folder = folder_store(self.workspace).run_folder(run.run_id)
        for name, content in {"log": b"", **(files or {})}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.workspace.history.advance(
            run.run_id,
            status,
            ended_at=NOON + timedelta(minutes=75),
            exit_code=exit_code,
            error=error,
        )
        return folder


@pytest.fixture(scope="session")
def empty_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history without runs, made once: making its tables takes longer than most tests."""
    path = tmp_path_factory.mktemp("history") / "history.db"
    with closing(open_run_history(f"sqlite:///{path}")) as history:
        history.list_runs()
    return path


@pytest.fixture
def archive(tmp_path: Path, empty_history: Path) -> Iterator[Archive]:
    shutil.copyfile(empty_history, tmp_path / "history.db")
    archive = Archive(tmp_path)
    with closing(archive.workspace.history):
        yield archive


@pytest.fixture(scope="session")
def web() -> Iterator[WebServer]:
    """A server that shows nothing yet."""
    with closing(WebServer()) as web:
        yield web


@pytest.fixture
def server(web: WebServer, archive: Archive) -> WebServer:
    """Shows the archive to somebody who is logged in and may see all Dags but one."""
    web.show(create_app(lambda: archive.workspace, Colleague))
    return web
