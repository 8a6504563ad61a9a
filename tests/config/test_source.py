"""What only the file system can tell about a config."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / 'it\'s a "project"'
    (directory / "steps").mkdir(parents=True)
    (directory / "train.py").touch()
    (directory / "steps" / "score.py").touch()
    return directory


def test_a_script_in_its_source_directory_is_fine(project: Path) -> None:
    ScriptRunConfig(project, "train.py").check()
    ScriptRunConfig(project, "./steps//score.py").check()


def test_a_script_is_run_under_the_plain_form_of_its_path(project: Path) -> None:
    config = ScriptRunConfig(project, "./steps//score.py/")

    assert config.argv("python") == ["python", "steps/score.py"]


def test_a_command_needs_no_script(project: Path) -> None:
    ScriptRunConfig(project, command=["make"]).check()


def test_a_relative_source_directory_is_looked_for_from_here(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.parent)

    ScriptRunConfig(project.name, "train.py").check()


def test_a_missing_source_directory_is_refused_with_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigurationError, match=f"{tmp_path}/nowhere does not exist"):
        ScriptRunConfig("nowhere", "train.py").check()


def test_a_tilde_is_not_taken_for_the_home_directory() -> None:
    with pytest.raises(ConfigurationError, match="~ is not expanded"):
        ScriptRunConfig("~/nowhere", "train.py").check()


def test_a_source_directory_that_is_a_file_is_refused(project: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a directory"):
        ScriptRunConfig(project / "train.py", "train.py").check()


def test_a_path_that_no_file_can_have_is_refused_with_the_systems_reason(project: Path) -> None:
    with pytest.raises(ConfigurationError, match="File name too long"):
        ScriptRunConfig(project, "x" * 300).check()


def test_a_missing_script_is_answered_with_the_closest_name(project: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"trian\.py is not in .* mean train\.py\?"):
        ScriptRunConfig(project, "trian.py").check()


def test_a_missing_script_is_answered_with_the_folder_it_is_in(project: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean steps/score\.py\?"):
        ScriptRunConfig(project, "score.py").check()


def test_a_missing_script_that_resembles_nothing_is_plainly_missing(project: Path) -> None:
    with pytest.raises(ConfigurationError, match="add it, or correct the path"):
        ScriptRunConfig(project, "zzzzzzzz").check()


def test_a_script_that_is_a_directory_is_refused(project: Path) -> None:
    with pytest.raises(ConfigurationError, match="steps is not a file"):
        ScriptRunConfig(project, "steps").check()


def test_a_script_that_is_a_pipe_is_refused(project: Path) -> None:
    os.mkfifo(project / "pipe")

    with pytest.raises(ConfigurationError, match="pipe is not a file"):
        ScriptRunConfig(project, "pipe").check()


def test_a_script_may_be_a_link_inside_the_source_directory(project: Path) -> None:
    (project / "main.py").symlink_to("steps/score.py")

    ScriptRunConfig(project, "main.py").check()


def test_a_script_that_is_a_link_out_of_the_source_directory_is_refused(project: Path) -> None:
    (project.parent / "outside.py").touch()
    (project / "main.py").symlink_to("../outside.py")

    with pytest.raises(ConfigurationError, match="outside source_directory"):
        ScriptRunConfig(project, "main.py").check()


def test_a_link_that_leads_to_itself_is_refused(project: Path) -> None:
    (project / "loop.py").symlink_to("loop.py")

    with pytest.raises(ConfigurationError, match=r"loop\.py cannot be looked at"):
        ScriptRunConfig(project, "loop.py").check()


def test_a_source_directory_may_be_reached_through_a_link(project: Path) -> None:
    (project.parent / "link").symlink_to(project)

    ScriptRunConfig(project.parent / "link", "train.py").check()


def test_what_was_changed_in_place_is_looked_at_again(project: Path) -> None:
    config = ScriptRunConfig(project, "train.py")
    config.arguments.append(None)  # type: ignore[arg-type] # the slip
    config.run_config.environment_variables["A B"] = "hunter2"

    with pytest.raises(ConfigurationError) as refusal:
        config.check()

    assert "arguments[0]: None was given" in str(refusal.value)
    assert "run_config.environment_variables.A B: its name should" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
