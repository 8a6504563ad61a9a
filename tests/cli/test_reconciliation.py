from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_mltrain import ScriptRunConfig, Workspace, submission
from airflow_mltrain.cli import main
from airflow_mltrain.runs.status import RunStatus
from tests.services.jobs import wait_until, wait_until_ended


@pytest.fixture
def stranger(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace with a history of its own, that uses the same target."""
    return Workspace(replace(workspace.settings, database_url=f"sqlite:///{tmp_path}/other.db"))


def submit(workspace: Workspace, folder: Path, script: str) -> str:
    project = folder / "project"
    project.mkdir(exist_ok=True)
    (project / "train.py").write_text(script)
    config = ScriptRunConfig(project, "train.py")
    return submission.submit(workspace, "churn", config).run_id


def test_what_became_of_runs_is_shown_and_unknown_jobs_are_listed(
    workspace: Workspace, stranger: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    target = workspace.get_target("local")
    run_id = submit(workspace, tmp_path, "raise SystemExit(3)")
    orphan = submit(stranger, tmp_path, "import time; time.sleep(60)")
    wait_until_ended(target, run_id)
    wait_until(target, orphan, RunStatus.RUNNING)

    # when
    exit_code = main(["reconcile"])

    # then
    shown = capsys.readouterr().out
    assert exit_code == 0
    assert "Failed" in next(line for line in shown.splitlines() if line.startswith(run_id))
    assert "Running" in next(line for line in shown.splitlines() if line.startswith(orphan))
    assert shown.endswith(
        "unfinished runs: 1; with news: 1; jobs that the run history does not know: 1\n"
    )

    # when
    refused = main(["reconcile", "--target", "local", "--cancel", run_id])
    main(["reconcile", "--target", "local", "--cancel", orphan])
    wait_until_ended(target, orphan)
    main(["reconcile", "--target", "local", "--discard", orphan])
    captured = capsys.readouterr()
    main(["reconcile", "--target", "local", "--json"])

    # then
    assert refused == 1
    assert f"{run_id} is no job of local that the run history does not know" in captured.err
    assert json.loads(capsys.readouterr().out) == {"runs": [], "orphans": [], "silent_targets": {}}
    assert [job.run_id for job in target.list_jobs()] == [run_id]


def test_jobs_to_cancel_need_one_target(capsys: pytest.CaptureFixture[str]) -> None:
    # when
    exit_code = main(["reconcile", "--cancel", "run_1"])

    # then
    assert exit_code == 2
    assert "name the one --target" in capsys.readouterr().err


def test_a_target_that_does_not_answer_is_named(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    assert workspace.history.list_unfinished() == []
    monkeypatch.setenv("AIRFLOW_CONN_FAR", "ssh://nobody@127.0.0.1:1")

    # when
    exit_code = main(["reconcile", "--target", "far"])

    # then
    assert exit_code == 1
    assert "far: its jobs are not known: " in capsys.readouterr().out
