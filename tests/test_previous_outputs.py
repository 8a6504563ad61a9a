"""A retry goes on from what the run before it left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from airflow_mltrain import ScriptRunConfig, progress, submission
from airflow_mltrain.recording import Occasion, record_run
from airflow_mltrain.runs.record import RunRecord, SubmissionKey
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.workspace import Workspace
from tests.services.artifacts import folder_store
from tests.services.patience import PATIENCE_SECONDS

_OCCASION = Occasion(SubmissionKey("retrain", "scheduled__2026-01-01", "train"), "first/0")
_COUNT = """
import json, pathlib, sys
from mltrain import Run

previous = Run.get_context().previous_outputs
names = [] if previous is None else [
    str(path.relative_to(previous)) for path in sorted(pathlib.Path(previous).rglob("*"))
]
print(json.dumps(names))
epoch = 0 if previous is None else int(pathlib.Path(previous, "checkpoint", "epoch").read_text())
pathlib.Path("outputs/checkpoint").mkdir()
pathlib.Path("outputs/checkpoint/epoch").write_text(str(epoch + 1))
pathlib.Path("outputs/.git").mkdir()
pathlib.Path("outputs/.git/kept too").touch()
sys.exit(epoch < 2)
"""
_OF_COUNT = [".git", ".git/kept too", "checkpoint", "checkpoint/epoch"]


def _submit(workspace: Workspace, tmp_path: Path, script: str = _COUNT) -> RunRecord:
    project = tmp_path / "project"
    project.mkdir(exist_ok=True)
    (project / "train.py").write_text(script)
    config = ScriptRunConfig(project, "train.py")
    record = submission.submit(workspace, "churn", config, _OCCASION)
    return progress.await_end(workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS)


def _said(workspace: Workspace, record: RunRecord) -> Any:
    return json.loads((folder_store(workspace).run_folder(record.run_id) / "log").read_text())


def test_each_retry_goes_on_from_the_last_failed_run_until_one_completes(
    workspace: Workspace, tmp_path: Path
) -> None:
    runs = [_submit(workspace, tmp_path) for _ in range(3)]

    assert [run.status for run in runs] == [RunStatus.FAILED] * 2 + [RunStatus.COMPLETED]
    assert [_said(workspace, run) for run in runs] == [[], _OF_COUNT, _OF_COUNT]
    first = folder_store(workspace).run_folder(runs[0].run_id) / "outputs/checkpoint/epoch"
    assert first.read_text() == "1"


def test_outputs_that_the_target_still_has_are_not_stored_to_be_sent(
    workspace: Workspace, tmp_path: Path
) -> None:
    _submit(workspace, tmp_path)
    before = {path.name for path in folder_store(workspace).blobs.root.rglob("*")}

    _submit(workspace, tmp_path)

    assert {path.name for path in folder_store(workspace).blobs.root.rglob("*")} == before


def test_outputs_that_the_target_has_no_longer_are_sent_from_the_artifact_store(
    workspace: Workspace, tmp_path: Path
) -> None:
    first = _submit(workspace, tmp_path)
    workspace.get_target("local").discard(first.run_id)

    second = _submit(workspace, tmp_path)

    assert _said(workspace, second) == _OF_COUNT


def test_outputs_that_nobody_has_any_longer_do_not_keep_a_run_from_beginning(
    workspace: Workspace, tmp_path: Path
) -> None:
    # given a run that was recorded, and not handed over, before its previous outputs went
    first = _submit(workspace, tmp_path)
    workspace.get_target("local").discard(first.run_id)
    config = ScriptRunConfig(tmp_path / "project", "train.py")
    target = workspace.get_target("local")
    record = record_run(workspace, target, "churn", config, _OCCASION, first)
    shutil.rmtree(folder_store(workspace).run_folder(first.run_id))

    # when
    submission.submit(workspace, "churn", config, _OCCASION)

    # then
    ended = progress.await_end(workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS)
    assert _said(workspace, ended) == []


def test_a_run_that_failed_before_it_wrote_anything_hands_on_what_it_got(
    workspace: Workspace, tmp_path: Path
) -> None:
    first = _submit(workspace, tmp_path)
    _submit(workspace, tmp_path, "raise SystemExit('no time')")

    third = _submit(workspace, tmp_path)

    assert third.properties["mltrain.previous_outputs"] == first.run_id
    assert _said(workspace, third) == _OF_COUNT


def test_a_repetition_of_a_run_that_completed_begins_anew(
    workspace: Workspace, tmp_path: Path
) -> None:
    _submit(workspace, tmp_path, "open('outputs/model', 'w')")
    config = ScriptRunConfig(tmp_path / "project", "train.py")
    (tmp_path / "project" / "train.py").write_text(_COUNT)

    again = submission.submit(workspace, "churn", config, Occasion(_OCCASION.key, "cleared/1"))

    ended = progress.await_end(workspace, again.run_id, timeout_seconds=PATIENCE_SECONDS)
    assert ended.generation == 2
    assert _said(workspace, ended) == []
