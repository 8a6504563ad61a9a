from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_mltrain import Experiment, ScriptRunConfig, Workspace
from airflow_mltrain.cli import main
from airflow_mltrain.cli.sparkline import render_sparkline
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Seen
from tests.contracts.history_bench import a_metric, a_run, add_metrics
from tests.services.jobs import wait_for

_SCRIPT = """
import mltrain
run = mltrain.Run.get_context()
for step in range(50):
    run.log("loss", 1 / (step + 1))
run.log("accuracy", float("nan"))
run.log("evil\\x1b[2J", "\\x1b]0;title\\x07")
run.tag("team", "vision")
fold = run.child_run("fold 1")
fold.complete()
with open("outputs/model.pkl", "w") as file:
    file.write("a model")
run.register_model("churn", "outputs/model.pkl")
raise SystemExit(3)
"""

_ODD_SCRIPT = """
import mltrain
run = mltrain.Run.get_context()
config = {"script": "fold.py", "arguments": 3, "run_config": 5, "tags": 7}
child = run._make_child(None, "odd", {"config": config})
child.complete()
run._write("model", "churn", {"path": "outputs/m", "v": float("nan"), "name": "another"})
"""


def test_a_run_is_shown_with_all_that_it_said(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "train.py").write_text(_SCRIPT)
    config = ScriptRunConfig(tmp_path / "project", "train.py", ["--rate", "0.1 or so"])
    config.run_config.environment_variables["COLOUR"] = "not to be shown"
    run = Experiment(workspace, "churn").submit(config)
    run.wait_for_completion(raise_on_error=False)

    # when
    assert main(["show", run.id]) == 0
    text = capsys.readouterr().out
    assert main(["show", run.id, "--json"]) == 0
    printed = capsys.readouterr().out

    # then
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in text.splitlines() if line}
    told = json.loads(printed, parse_constant=pytest.fail)
    assert text.replace("\n", "").isprintable()
    assert lines["status"] == "Failed, exit code 3"
    assert lines["command"] == "train.py --rate '0.1 or so'"
    assert lines["tag"] == "team = vision"
    assert lines["files"] == "2, such as log, outputs/model.pkl"
    assert lines["loss"].startswith("50 0.02 0.02 1 █")
    assert lines["accuracy"] == "1 nan"
    assert lines["evil\\x1b[2J"] == "1 \\x1b]0;title\\x07"
    assert lines["churn"] == "outputs/model.pkl"
    assert "fold 1  Completed" in text
    assert (told["status"], told["exit_code"]) == ("Failed", 3)
    assert told["metrics"]["loss"][0] == 1.0
    assert told["metrics"]["accuracy"] == "nan"
    assert told["config"]["run_config"]["environment_variables"] == {"COLOUR": "****"}
    assert "not to be shown" not in text + printed


def test_what_a_script_says_of_children_and_models_in_an_odd_form_is_no_harm(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "train.py").write_text(_ODD_SCRIPT)
    run = Experiment(workspace, "churn").submit(ScriptRunConfig(tmp_path / "project", "train.py"))
    run.wait_for_completion()

    # when
    assert main(["show", run.id, "--json"]) == 0
    printed = capsys.readouterr().out
    assert main(["show", f"{run.id}_odd"]) == 0
    text = capsys.readouterr().out
    assert main(["show", f"{run.id}_odd", "--json"]) == 0
    child = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert main(["diff", run.id, f"{run.id}_odd"]) == 0

    # then
    [model] = json.loads(printed, parse_constant=pytest.fail)["models"]
    assert (model["name"], model["v"]) == ("churn", "nan")
    assert f"{'command':<13}fold.py\n" in text
    assert child["config"]["arguments"] == []
    assert child["config"]["run_config"]["target"] == "local"


def test_a_run_that_ended_unseen_is_shown_as_its_target_knows_it(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    (tmp_path / "train.py").write_text("open(__import__('sys').argv[1], 'w')")
    config = ScriptRunConfig(tmp_path, "train.py", [str(tmp_path / "done")])
    run = Experiment(workspace, "churn").submit(config)
    wait_for((tmp_path / "done").exists)
    target = workspace.get_target("local")
    wait_for(lambda: target.observe({run.id: Seen()}, 1.0)[run.id].status.is_terminal)
    assert not workspace.history.get(run.id).status.is_terminal

    # when
    assert main(["show", run.id, "--json"]) == 0

    # then
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["exit_code"], told["files"]) == ("Completed", 0, ["log"])


def test_a_run_whose_target_cannot_be_asked_is_shown_as_it_was_last_known(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    workspace.history.add(a_run("lost", target="mars", status=RunStatus.RUNNING, is_started=True))

    # when
    exit_code = main(["show", "lost"])

    # then
    shown = capsys.readouterr()
    assert exit_code == 0
    assert "Running" in shown.out
    assert "as the run history last knew it: there is no compute target 'mars'" in shown.err


def test_of_very_many_metrics_the_first_are_shown(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    workspace.history.add(a_run("busy", status=RunStatus.COMPLETED))
    points = [a_metric(1.0, f"metric {number}") for number in range(10_000)]
    add_metrics(workspace.history, "busy", points, position=0, next_position=1)

    # when
    assert main(["show", "busy"]) == 0

    # then
    text = capsys.readouterr().out
    assert text.count("\nmetric ") == 100
    assert "and 9900 more; --json has them all" in text


@pytest.mark.parametrize(
    ("numbers", "drawn"),
    [
        ([], ""),
        ([1.0], ""),
        ([0.0, 7.0], "▁█"),
        ([5.0, 5.0, 5.0], "▄▄▄"),
        ([-1.7e308, 0.0, 1.7e308], "▁▅█"),
        ([float(number // 10) for number in range(80)], "▁▂▃▄▅▆▇█"),
    ],
)
def test_a_course_goes_from_the_lowest_to_the_highest(numbers: list[float], drawn: str) -> None:
    assert render_sparkline(numbers, columns=8) == drawn
