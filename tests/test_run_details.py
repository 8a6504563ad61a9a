"""Runs and experiments to look at: in a notebook, live, and in a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from airflow_mltrain import Experiment, Run, RunDetails, ScriptRunConfig, Workspace
from airflow_mltrain.errors import AbsentError
from airflow_mltrain.run_view import render_html, render_text, view_run
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from tests.contracts.history_bench import HOSTILE_TEXT, NOON, a_metric, a_run, add_metrics

FAKES = Path(__file__).parent / "fakes" / "notebook"
HOSTILE = f"<script>alert('x')</script>\"><img src=x onerror=y> {HOSTILE_TEXT}"
SCRIPT = """
import mltrain, os, time
run = mltrain.Run.get_context()
run.log("loss", 0.5)
while not os.path.exists("../../../go"): time.sleep(0.05)
run.log("loss", 0.25)
"""
SHOWING = """
import sys
if {is_notebook}:
    sys.path.insert(0, {fakes!r})
    import IPython
from pathlib import Path
from airflow_mltrain import Experiment, Run, RunDetails, Workspace
from airflow_mltrain.settings import Settings
workspace = Workspace(Settings({url!r}, Path({artifacts!r}), Path({root!r})))
run = Run.get(workspace, {run_id!r})
RunDetails(run).show()
run.wait_for_completion()
import threading
for thread in threading.enumerate():
    if thread.name == "mltrain-details": thread.join()
print("returned")
"""


class Tags(HTMLParser):
    """Collects the elements of a page and their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def submit(workspace: Workspace, tmp_path: Path) -> Run:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(SCRIPT)
    return Experiment(workspace, "churn").submit(ScriptRunConfig(project, "train.py"))


def begin_showing(workspace: Workspace, run: Run, *, is_notebook: bool) -> subprocess.Popen[str]:
    """A process that shows the run, as a notebook's kernel or as a terminal would."""
    program = SHOWING.format(
        is_notebook=is_notebook,
        fakes=str(FAKES),
        url=workspace.settings.database_url,
        artifacts=str(workspace.settings.artifacts),
        root=str(workspace.settings.local_root),
        run_id=run.id,
    )
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def test_in_a_notebook_a_run_is_shown_at_once_and_kept_up_to_date(
    workspace: Workspace, tmp_path: Path
) -> None:
    run = submit(workspace, tmp_path)

    with begin_showing(workspace, run, is_notebook=True) as notebook:
        assert notebook.stdout is not None
        shown = [json.loads(notebook.stdout.readline())]
        while "0.5" not in shown[-1]["html"]:
            shown.append(json.loads(notebook.stdout.readline()))
        (tmp_path / "local" / "go").touch()
        rest = notebook.stdout.read().splitlines()

    assert [one["kind"] for one in shown[:2]] == ["display_data", "update_display_data"]
    *updates, returned = rest
    assert returned == "returned"
    last = json.loads(updates[-1])["html"]
    assert "Completed" in last
    assert "0.25" in last
    assert "<polyline" in last
    assert len([line for line in [*shown, *updates] if "display_data" in line]) <= 1


def test_in_a_terminal_a_line_for_each_change_is_printed_until_the_end(
    workspace: Workspace, tmp_path: Path
) -> None:
    run = submit(workspace, tmp_path)

    with begin_showing(workspace, run, is_notebook=False) as terminal:
        assert terminal.stdout is not None
        lines = [terminal.stdout.readline()]
        while "loss=0.5" not in lines[-1]:
            lines.append(terminal.stdout.readline())
        (tmp_path / "local" / "go").touch()
        lines += terminal.stdout.read().splitlines()

    assert lines[-1] == "returned"
    assert lines[-2].startswith(f"{run.id}  Completed")
    assert "loss=0.25" in lines[-2]
    assert len(lines) == len(set(lines))


def test_whatever_a_script_says_is_escaped(workspace: Workspace) -> None:
    record = workspace.history.add(
        a_run(
            status=RunStatus.FAILED,
            error=HOSTILE,
            tags={HOSTILE: HOSTILE},
            started_at=NOON,
            ended_at=NOON + timedelta(hours=1),
            experiment=HOSTILE,
        )
    )
    points = [a_metric(value, HOSTILE) for value in (1.0, 1e308, float("nan"), -1e308, HOSTILE)]
    add_metrics(workspace.history, record.run_id, points, position=0, next_position=9)

    view = view_run(workspace, record)
    run = Tags(render_html(view, HOSTILE))
    experiment = Tags(Experiment(workspace, HOSTILE)._repr_html_())

    assert run.names == {"table", "tr", "td", "b", "span", "svg", "polyline"}
    assert run.attributes == {"style", "width", "height", "points", "fill", "stroke"}
    assert experiment.names == {"table", "tr", "td", "b", "span"}
    assert HOSTILE in run.texts
    assert "1:00:00" in run.texts
    assert render_text(view).isprintable()
    assert render_text(view, HOSTILE).isprintable()
    assert render_text(view, "no answer") == f"{record.run_id}  no answer"


def test_a_notebook_shows_a_run_of_a_million_points_by_its_newest(workspace: Workspace) -> None:
    record = workspace.history.add(a_run())
    points = [a_metric(number, f"metric {number % 50}") for number in range(5000)]
    add_metrics(workspace.history, record.run_id, points, position=0, next_position=9)

    page = Tags(Run.get(workspace, record.run_id)._repr_html_())

    assert "and 30 more" in page.texts
    assert "4950" in page.texts


def test_a_history_that_does_not_answer_is_no_fault_of_a_notebook(tmp_path: Path) -> None:
    lost = Workspace(Settings("sqlite:////proc/no/history.db", tmp_path, tmp_path))

    assert "churn" in Experiment(lost, "churn")._repr_html_()
    assert "&#x27;r&#x27;" in Run(Experiment(lost, "churn"), "r")._repr_html_()


def test_settings_of_the_widget_are_refused(workspace: Workspace) -> None:
    run = Run(Experiment(workspace, "churn"), "r")

    with pytest.raises(AbsentError, match="render_lib"):
        RunDetails(run).show(render_lib="vega")
