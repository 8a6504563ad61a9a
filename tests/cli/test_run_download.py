from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_mltrain import Experiment, Run, ScriptRunConfig, Workspace
from airflow_mltrain.cli import main
from airflow_mltrain.runs.status import RunStatus
from tests.contracts.history_bench import a_run
from tests.services.artifacts import folder_store

_SCRIPT = """
import os
os.makedirs("outputs/models/a")
open("outputs/models/a/weights", "w").write("heavy")
open("outputs/models.txt", "w").write("one")
print("done")
"""


@pytest.fixture
def run(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "train.py").write_text(_SCRIPT)
    run = Experiment(workspace, "churn").submit(ScriptRunConfig(tmp_path / "project", "train.py"))
    run.wait_for_completion()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return run


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_all_that_a_run_left_comes_into_a_folder_of_its_name(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    # when
    assert main(["download", run.id]) == 0

    # then
    names = ["log", "outputs/models.txt", "outputs/models/a/weights"]
    assert files_below(Path(run.id)) == names
    assert (Path(run.id) / "log").read_text() == "done\n"
    assert capsys.readouterr().out.splitlines() == [f"{run.id}/{name}" for name in names]


def test_a_file_or_a_folder_is_had_by_its_name(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    # when
    assert main(["download", "--json", "-o", "there", run.id, "log", "outputs/models/"]) == 0

    # then
    assert files_below(Path("there")) == ["log", "outputs/models/a/weights"]
    told = json.loads(capsys.readouterr().out)
    assert told == {"files": ["there/log", "there/outputs/models/a/weights"]}


def test_what_it_was_made_of_is_had_too(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    # when
    assert main(["download", "--source", "--json", "--output", "source", run.id]) == 0

    # then
    assert files_below(Path("source")) == ["train.py"]
    assert json.loads(capsys.readouterr().out) == {"folder": "source"}


def test_a_name_that_it_did_not_leave_is_a_failure(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    # when
    exit_code = main(["download", run.id, "outputs/mod"])

    # then
    assert exit_code == 1
    assert capsys.readouterr().err == f"mltrain: run {run.id} left no 'outputs/mod'\n"
    assert not Path(run.id).exists()


def test_every_name_that_it_did_not_leave_is_told_beside_what_is_copied(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    # when
    exit_code = main(["download", run.id, "outputs/nothing", "outputs/models.txt", "logs"])

    # then
    assert exit_code == 1
    assert files_below(Path(run.id)) == ["outputs/models.txt"]
    assert capsys.readouterr().err.splitlines() == [
        f"mltrain: run {run.id} left no 'outputs/nothing'",
        f"mltrain: run {run.id} left no 'logs'",
    ]


def test_a_folder_in_the_place_of_a_file_is_refused(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    Path("there/log").mkdir(parents=True)

    # when
    exit_code = main(["download", run.id, "log", "-o", "there"])

    # then
    assert exit_code == 1
    assert "could not be copied to there/log: that is a folder" in capsys.readouterr().err
    assert files_below(Path("there")) == []


def test_the_store_s_own_folder_stays_as_it_is(
    run: Run, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    folder = folder_store(workspace).run_folder(run.id)

    # when
    exit_code = main(["download", run.id, "log", "-o", str(folder)])

    # then
    assert exit_code == 1
    assert "are the same file" in capsys.readouterr().err
    assert (folder / "log").read_text() == "done\n"


def test_the_source_comes_into_no_file(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    # given
    Path("taken").write_text("a file")

    # when
    exit_code = main(["download", "--source", run.id, "-o", "taken"])

    # then
    assert exit_code == 1
    assert capsys.readouterr().err == (
        "mltrain: taken cannot be used: Not a directory; name a new folder\n"
    )


def test_a_place_that_cannot_be_written_is_one_message(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    Path("taken").write_text("a file")

    # when
    exit_code = main(["download", run.id, "-o", "taken"])

    # then
    assert exit_code == 1
    assert capsys.readouterr().err.startswith(f"mltrain: log of run {run.id} could not be copied")


def test_a_run_that_goes_on_has_left_nothing_yet(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    workspace.history.add(a_run("going", status=RunStatus.NOT_STARTED))

    # when
    exit_code = main(["download", "going"])

    # then
    assert exit_code == 1
    assert "run going is NotStarted; what it leaves is kept at its end" in capsys.readouterr().err
