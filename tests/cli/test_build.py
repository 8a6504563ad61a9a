from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain import Environment, Workspace
from airflow_mltrain.cli import main
from airflow_mltrain.runs.status import RunStatus
from tests.cli.conftest import register

if TYPE_CHECKING:
    from tests.services.package_index import PackageIndex

_CLI = [sys.executable, "-m", "airflow_mltrain.cli"]


def test_building_shows_the_log_and_ends_with_the_key(
    workspace: Workspace, tiny: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    # when
    exit_code = main(["env", "build", tiny.name])

    # then
    shown = capsys.readouterr()
    [built] = workspace.get_target("local").list_environments()
    assert exit_code == 0
    assert "\nalpha==1.0\nbeta==1.0\n" in shown.out
    assert shown.out.endswith(f"\ntiny is ready on local: {built.key}\n")
    assert shown.err == ""


def test_building_again_needs_no_index(
    workspace: Workspace, tiny: Environment, index: PackageIndex
) -> None:
    # given
    main(["env", "build", tiny.name])
    index.stop()

    # when
    exit_code = main(["env", "build", f"{tiny.name}:1"])

    # then
    assert exit_code == 0
    assert len(workspace.get_target("local").list_environments()) == 1


def test_a_failed_build_says_why_and_is_a_failure(
    workspace: Workspace, index: PackageIndex, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    register(workspace, index, "hopeless", "gamma")

    # when
    exit_code = main(["env", "build", "hopeless"])

    # then
    [run] = workspace.history.list_runs("environments")
    shown = capsys.readouterr()
    assert exit_code == 1
    assert f"mltrain: run {run.run_id} ended as Failed" in shown.err
    assert "gamma" in shown.err


def test_a_build_that_takes_too_long_is_a_failure(
    workspace: Workspace, tiny: Environment, index: PackageIndex
) -> None:
    # given
    index.hang()

    # when
    exit_code = main(["env", "build", tiny.name, "--prepare-timeout", "1"])

    # then
    [run] = workspace.history.list_runs("environments")
    assert exit_code == 1
    assert run.status is RunStatus.FAILED


def test_an_environment_that_is_used_as_it_is_needs_no_building(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    python = {"user_managed_dependencies": True, "interpreter_path": sys.executable}
    Environment("mine", python=python).register(workspace)

    # when
    exit_code = main(["env", "build", "mine"])

    # then
    assert exit_code == 0
    assert capsys.readouterr().out.endswith("mine is used as it is on local: nothing to build\n")


def test_an_interrupt_cancels_the_run_and_says_so(
    workspace: Workspace, tiny: Environment, index: PackageIndex
) -> None:
    # given
    index.hang()
    command = [*_CLI, "env", "build", tiny.name]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as building:
        assert building.stdout is not None
        assert building.stderr is not None
        for line in building.stdout:
            if "resolving" in line:
                break

        # when
        building.send_signal(signal.SIGINT)
        words = building.stderr.read()

    # then
    [run] = workspace.history.list_runs("environments")
    assert run.status is RunStatus.CANCELED
    assert words.endswith(f"mltrain: run {run.run_id} was canceled\n")
    assert building.returncode == 130
