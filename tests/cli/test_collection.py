from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mltrain import Environment, Experiment, ScriptRunConfig, Workspace
from airflow_mltrain.cli import main
from tests.services.artifacts import folder_store


@pytest.fixture
def built(
    workspace: Workspace, tiny: Environment, small: Environment, capsys: pytest.CaptureFixture[str]
) -> Workspace:
    """A workspace whose local target has built `tiny`, and then `small`."""
    for environment in (tiny, small):
        main(["env", "build", environment.name])
    capsys.readouterr()
    return workspace


def _names(workspace: Workspace) -> set[str]:
    return {one.name for one in workspace.get_target("local").list_environments()}


def test_within_the_limit_of_the_settings_everything_stays(
    built: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # when
    exit_code = main(["gc"])

    # then
    assert exit_code == 0
    assert capsys.readouterr().out.startswith("removed from local: 0 (0 B); left there: 2 (")
    assert _names(built) == {"tiny:1", "small:1"}


@pytest.mark.parametrize("words", ["gc", "env gc"])
def test_what_was_not_used_for_longest_goes_until_the_rest_fits(
    built: Workspace, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    # given
    sizes = {one.name: one.size_bytes for one in built.get_target("local").list_environments()}
    enough_for_one = str((max(sizes.values()) + 1) / 1e9)

    # when
    main([*words.split(), "--max-gigabytes", enough_for_one])

    # then
    shown = capsys.readouterr().out
    assert _names(built) == {"small:1"}
    assert " tiny:1 " in shown
    assert "removed from local: 1 (" in shown


def test_the_setting_is_the_limit_unless_another_is_given(
    built: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setenv("AIRFLOW__MLTRAIN__ENVIRONMENTS_MAX_GIGABYTES", "0.000001")

    # when
    main(["gc"])

    # then
    assert _names(built) == set()


def test_a_dry_run_says_what_would_go_and_removes_nothing(
    built: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # when
    exit_code = main(["gc", "--max-gigabytes", "0", "--dry-run"])

    # then
    assert exit_code == 0
    assert "would be removed from local: 2 (" in capsys.readouterr().out
    assert _names(built) == {"tiny:1", "small:1"}


def test_jobs_and_artifacts_go_by_their_age(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    (tmp_path / "train.py").write_text("print('trained')")
    config = ScriptRunConfig(tmp_path, "train.py")
    run = Experiment(workspace, "churn").submit(config)
    run.wait_for_completion()
    capsys.readouterr()

    # when
    main(["gc"])
    kept = capsys.readouterr().out
    main(["gc", "--jobs-older-than", "0", "--artifacts-older-than", "0", "--dry-run"])
    would_go = capsys.readouterr().out
    main(["gc", "--jobs-older-than", "0", "--artifacts-older-than", "0"])
    gone = capsys.readouterr().out

    # then
    assert "removed from local: 0 jobs; 0 files" in kept
    assert "would be removed from local: 1 jobs; 0 files" in would_go  # young ones stay a day
    assert f"would be removed: log and outputs of run {run.id}\n" in would_go
    assert "removed from local: 1 jobs; 0 files" in gone
    assert f"removed: log and outputs of run {run.id}\n" in gone
    assert workspace.get_target("local").list_jobs() == []
    assert not folder_store(workspace).run_folder(run.id).exists()
