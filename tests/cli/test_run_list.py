from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain import Workspace
from airflow_mltrain.cli import main
from airflow_mltrain.runs.status import RunStatus
from tests.contracts.history_bench import NOON, a_run

_LISTING = (
    "import sys\n"
    "from airflow_mltrain.cli import main\n"
    "assert main(['list']) == 0\n"
    "print(*[name for name in ('airflow', 'pydantic', 'alembic') if name in sys.modules])"
)


def record(workspace: Workspace, run_id: str, minute: int, **facts: Any) -> None:
    run = a_run(run_id, created_at=NOON + timedelta(minutes=minute), **facts)
    workspace.history.add(run)


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["list", "--json", *words]) == 0
    return [run["run_id"] for run in json.loads(capsys.readouterr().out)["runs"]]


def test_pages_go_on_where_the_one_before_ended(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    for number in range(5):
        record(workspace, f"run_{number}", minute=number // 2)  # two at a time
    record(workspace, "child", minute=9, parent_run_id="run_0")
    pages: list[list[str]] = []
    following: str | None = "first"

    # when
    while following is not None:
        place = ["--before", following] if pages else []
        assert main(["list", "--json", "--limit", "2", *place]) == 0
        page = json.loads(capsys.readouterr().out)
        pages.append([run["run_id"] for run in page["runs"]])
        following = page["next"]

    # then
    assert pages == [["run_4", "run_3"], ["run_2", "run_1"], ["run_0"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--experiment", "fraud"], ["other"]),
        (["--status", "failed"], ["failed"]),
        (["--status", "Failed", "--status", "running"], ["running", "failed"]),
        (["--tag", "team"], ["tagged-too", "tagged"]),
        (["--tag", "team=vision"], ["tagged"]),
        (["--tag", "team=vision", "--tag", 'say "hi"=a=b'], ["tagged"]),
        (["--tag", "team=Vision"], []),
        (["--tag", "team=vision", "--status", "failed"], []),
        (["--tag", "vision"], []),
    ],
)
def test_only_what_was_asked_for_is_listed(
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    expected: list[str],
) -> None:
    # given
    tags: Mapping[str, str] = {'say "hi"': "a=b", "team": "vision"}
    record(workspace, "other", 1, experiment="fraud")
    record(workspace, "failed", 2, status=RunStatus.FAILED)
    record(workspace, "running", 3, status=RunStatus.RUNNING)
    record(workspace, "tagged", 4, tags=tags)
    record(workspace, "tagged-too", 5, tags={"team": "v", "x": 'a "team": "vision"'})

    # when
    found = listed(capsys, *words)

    # then
    assert found == expected


def test_a_table_tells_the_run_its_state_and_how_long_it_took(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    run = a_run("churn_1", status=RunStatus.COMPLETED, started_at=NOON, tags={"team": "vision"})
    workspace.history.add(replace(run, ended_at=NOON + timedelta(seconds=754)))

    # when
    assert main(["list"]) == 0

    # then
    headings, line = capsys.readouterr().out.splitlines()
    assert headings.split("  ")[0] == "RUN"
    assert " ".join(line.split()) == (
        "churn_1 Completed local 2026-11-23 12:00 12 min 34 s team=vision"
    )


def test_what_a_script_calls_its_tags_is_shown_and_not_obeyed(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    tags = {"\x1b[2Jclean": "\x1b]0;title\x07", "reve\u202esrever": "\ud800\n\r\x9b"}
    record(workspace, "hostile", 1, tags=tags)

    # when
    assert main(["list"]) == 0

    # then
    shown = capsys.readouterr().out
    assert shown.count("\n") == 2
    assert shown.replace("\n", "").isprintable()
    assert "\\x1b[2Jclean=\\x1b]0;title" in shown


def test_listing_loads_neither_airflow_nor_what_else_is_slow(
    workspace: Workspace, airflow_home: Path
) -> None:
    # given
    record(workspace, "kept", 1)

    # when
    printed = subprocess.run(
        [sys.executable, "-c", _LISTING], capture_output=True, text=True, check=True
    ).stdout

    # then
    assert airflow_home.exists()
    assert "kept" in printed
    assert printed.splitlines()[-1] == ""


def test_no_run_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    # when
    exit_code = main(["list", "--experiment", "unheard-of"])

    # then
    assert exit_code == 0
    assert capsys.readouterr().out == "there is no such run\n"


def test_a_page_behind_an_unknown_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    # when
    exit_code = main(["list", "--before", "nobody"])

    # then
    shown = capsys.readouterr()
    assert (exit_code, shown.out) == (1, "")
    assert shown.err.startswith("mltrain: there is no run 'nobody' in the run history")
