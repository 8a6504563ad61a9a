"""Whole runs, submitted and finished by many at once and through a history that goes away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from airflow_mltrain import progress, submission
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.errors import RunHistoryUnavailableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from airflow_mltrain.workspace import Workspace
from tests.services.patience import PATIENCE_SECONDS
from tests.services.postgresql import PostgresqlServer
from tests.services.processes import run_together

SCRIPT = "import mltrain, sys; mltrain.Run.get_context().log('number', int(sys.argv[1]))"


def make_project(folder: Path, script: str) -> Path:
    project = folder / "project"
    project.mkdir()
    (project / "train.py").write_text(script)
    return project


def submit_and_finish(asked: tuple[Settings, Path, int]) -> str:
    settings, project, number = asked
    workspace = Workspace(settings)
    config = ScriptRunConfig(project, "train.py", [number])
    record = submission.submit(workspace, "together", config)
    return progress.await_end(workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS).run_id


def test_eight_processes_submit_and_finish_at_once(
    settings: Settings, tmp_path: Path, history_url: str
) -> None:
    settings = replace(settings, database_url=history_url)
    project = make_project(tmp_path, SCRIPT)

    run_ids = run_together(submit_and_finish, [(settings, project, number) for number in range(8)])

    history = Workspace(settings).history
    assert {history.get(run_id).status for run_id in run_ids} == {RunStatus.COMPLETED}
    logged = [[point.value for point in history.get_metrics(run_id)] for run_id in run_ids]
    assert logged == [[number] for number in range(8)]


@pytest.mark.postgres
def test_a_run_survives_the_loss_of_its_history(
    settings: Settings, tmp_path: Path, postgresql: PostgresqlServer
) -> None:
    workspace = Workspace(replace(settings, database_url=postgresql.create_database()))
    project = make_project(tmp_path, "import time; time.sleep(1); print('done')")
    record = submission.submit(workspace, "survivor", ScriptRunConfig(project, "train.py"))
    postgresql.kill()

    try:
        with pytest.raises(RunHistoryUnavailableError):
            progress.await_end(workspace, record.run_id)
    finally:
        postgresql.start()

    ended = progress.await_end(workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS)
    assert ended.status is RunStatus.COMPLETED
    assert progress.log_end(workspace, record.run_id) == "done"
