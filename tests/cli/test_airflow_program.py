"""`airflow mltrain ...` is `mltrain ...`."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser

import pytest

from airflow_mltrain import Workspace
from airflow_mltrain.cli.airflow_program import get_commands
from airflow_mltrain.cli.catalogue import COMMANDS
from airflow_mltrain.cli.program import main
from tests.contracts.history_bench import a_run

_AIRFLOW = [sys.executable, "-m", "airflow"]


def test_airflow_knows_every_command() -> None:
    # given
    from airflow.cli.cli_parser import _add_command  # noqa: PLC0415 - loads all providers

    parser = ArgumentParser("airflow")
    commands = parser.add_subparsers()

    # when
    for group in get_commands():
        _add_command(commands, group)

    # then
    for command in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(["mltrain", *command.words.split(), "--help"])
        assert ended.value.code == 0
    words = ["mltrain", "run", "train.py", "--tag", "a", "--", "-x", "--target", "--", "b"]
    understood = parser.parse_args(words)
    assert (understood.script, understood.tag, understood.target) == (
        "train.py",
        [("a", "")],
        None,
    )


@pytest.mark.airflow
def test_airflow_answers_as_the_program_does(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    workspace.history.add(a_run("kept"))
    words = ["list", "--json", "--tag", "a=b"]
    assert main(words) == 0
    expected = capsys.readouterr().out

    # when
    answer = subprocess.run(
        [*_AIRFLOW, "mltrain", *words], capture_output=True, text=True, check=False
    )

    # then
    assert answer.returncode == 0
    assert answer.stdout == expected
    assert json.loads(answer.stdout) == {"runs": [], "next": None}
