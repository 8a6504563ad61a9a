"""What somebody sees who opens the page of a run."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import time
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.plugin.app import create_app
from airflow_mltrain.runs.metric_line import parse_metric_lines
from airflow_mltrain.runs.record import SubmissionKey
from airflow_mltrain.runs.status import RunStatus
from tests.contracts.history_bench import add_metrics
from tests.fakes.viewer import Colleague
from tests.plugin.conftest import KEY, Archive, a_metric, a_run
from tests.services.patience import PATIENCE_SECONDS
from tests.services.web_page import WebPage

if TYPE_CHECKING:
    from tests.services.web_server import WebServer

PAGE = "/mltrain/runs/churn_1_aa"
HOSTILE = (
    "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}</pre></title>&lt;\u202e"
)


def test_the_page_says_how_a_run_ended(archive: Archive, server: WebServer) -> None:
    # given
    error = "killed by signal 9: the machine ran out of memory"
    archive.add_ended(a_run(), RunStatus.FAILED, exit_code=137, error=error)

    # when
    answer = server.get(PAGE)

    # then
    page = WebPage(answer.text)
    assert answer.status == 200
    assert "Failed" in page.text
    assert "Ran for 1 h 15 min" in page.text
    assert error in page.text
    assert "137" in page.text


def test_the_page_says_what_was_run_and_from_where(archive: Archive, server: WebServer) -> None:
    # given
    properties = {
        "azureml.git.branch": "main",
        "azureml.git.commit": "7517a8a2",
        "azureml.git.dirty": "True",
    }
    archive.add(
        a_run(
            config={
                "script": "train.py",
                "arguments": ["--data", "my file.csv", 3],
                "run_config": {"environment": {"name": "sklearn", "version": "3"}},
            },
            tags={"team": "growth"},
            properties=properties,
        )
    )

    # when
    page = WebPage(server.get(PAGE).text)

    # then
    shown = ("train.py --data 'my file.csv' 3", "sklearn:3", "team: growth", "gpu-host", "5f2a77")
    git = ("main", "7517a8a2", "has uncommitted changes")
    assert [text for text in shown + git if text not in page.text] == []


def test_what_a_script_may_have_written_stays_text(archive: Archive, server: WebServer) -> None:
    # given
    harmless, hostile = (
        a_run(
            run_id,
            experiment=text,
            target=text,
            snapshot_id=text,
            submission=KEY._replace(task_id=f"{text}{run_id}"),
            config={
                "source_directory": text,
                "command": [text, text],
                "run_config": {
                    "framework": text,
                    "environment": text,
                    "environment_variables": {text: text},
                },
            },
            tags={text: text},
            properties={
                "azureml.git.repository_uri": text,
                "azureml.git.branch": text,
                "azureml.git.commit": text,
                "mltrain.outputs_left_behind": text,
            },
        )
        for run_id, text in (("harmless", "x"), ("hostile", HOSTILE))
    )
    for run, text in ((harmless, "x"), (hostile, HOSTILE)):
        archive.add_ended(
            run,
            RunStatus.FAILED,
            files={"log": text.encode(), f"outputs/{text.replace('/', '')}": b""},
            error=text,
        )
        points = [a_metric(text, value) for value in (1, text, {text: [text]}, [text])]
        add_metrics(archive.workspace.history, run.run_id, points, position=1, next_position=2)

    # when
    ordinary, attacked = (
        WebPage(server.get(f"/mltrain/runs/{run.run_id}").text) for run in (harmless, hostile)
    )

    # then
    assert attacked.elements == ordinary.elements
    assert attacked.text.count(HOSTILE) > 10
    assert [link for link in attacked.links if not link.startswith(("/", "./hostile/"))] == []


def test_the_values_of_environment_variables_are_never_shown(
    archive: Archive, server: WebServer
) -> None:
    # given
    run_config = {
        "environment_variables": {"DATABASE": "hunter2"},
        "environment": {"name": "lab", "environment_variables": {"TOKEN": "hunter2"}},
    }
    archive.add_ended(a_run(config={"script": "train.py", "run_config": run_config}))

    # when
    answer = server.get(PAGE)

    # then
    assert "DATABASE, TOKEN" in WebPage(answer.text).text
    assert "hunter2" not in answer.text


def test_the_page_of_a_live_run_reloads_itself(archive: Archive, server: WebServer) -> None:
    # given
    archive.add(a_run())

    # when
    page = WebPage(server.get(PAGE).text)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while page.values("meta", "content")[1:] != ["5"] and time.monotonic() < deadline:
        page = WebPage(server.get(PAGE).text)  # less often while the machine is slow

    # then
    assert page.values("meta", "content")[1:] == ["5"]
    assert ("meta", ("http-equiv", "content")) in page.elements


@pytest.mark.parametrize("status", [status for status in RunStatus if status.is_terminal])
def test_the_page_of_an_ended_run_stays_as_it_is(
    archive: Archive, server: WebServer, status: RunStatus
) -> None:
    # given
    archive.add_ended(a_run(), status)

    # when
    page = WebPage(server.get(PAGE).text)

    # then
    assert ("meta", ("http-equiv", "content")) not in page.elements


def test_the_log_of_a_run_that_goes_on_is_found_in_its_task(
    archive: Archive, server: WebServer
) -> None:
    # given
    archive.add(a_run())

    # when
    page = WebPage(server.get(PAGE).text)

    # then
    task = "/dags/retrain/runs/manual__2026-11-23/tasks/train"
    assert "its log is in the log of its task" in page.text
    assert page.links.count(task) == 3


def test_a_mapped_task_with_strange_ids_is_linked_to(archive: Archive, server: WebServer) -> None:
    # given
    key = SubmissionKey("été", "a/b?c#d+00:00 %2F", "group.train", map_index=0)
    archive.add(a_run(submission=key))

    # when
    page = WebPage(server.get(PAGE).text)

    # then
    path = "dags/%C3%A9t%C3%A9/runs/a%2Fb%3Fc%23d%2B00%3A00%20%252F/tasks/group.train/mapped/0"
    assert f"/{path}" in page.links


def test_links_lead_into_an_airflow_below_a_sub_path(archive: Archive, web: WebServer) -> None:
    # given
    archive.add(a_run())
    web.show(create_app(lambda: archive.workspace, Colleague), root_path="/data/airflow")

    # when
    page = WebPage(web.get(PAGE).text)

    # then
    assert {link[:14] for link in page.links} == {"/data/airflow/"}


def test_a_run_that_no_dag_submitted_has_a_page_too(archive: Archive, server: WebServer) -> None:
    # given
    archive.add(a_run(submission=None))

    # when
    answer = server.get(PAGE)

    # then
    assert answer.status == 200
    assert "Submitted by" not in answer.text
    assert WebPage(answer.text).links == ["/"]


def test_a_numeric_metric_is_shown_with_its_course(archive: Archive, server: WebServer) -> None:
    # given
    losses = [a_metric("loss", value) for value in (0.9, 0.5, 0.25)]
    archive.add(a_run(), *losses)

    # when
    page = WebPage(server.get(PAGE).text)

    # then
    assert "0.25\n" in page.text
    assert "3 values, 0.25 to 0.9" in page.text
    assert len(page.values("polyline", "points")) == 1


def test_a_metric_that_is_no_text_of_any_encoding_does_not_cost_the_page(
    archive: Archive, server: WebServer
) -> None:
    # given
    archive.add(a_run(), a_metric("odd", "half a pair: \ud83d"), a_metric("loss", math.nan))

    # when
    answer = server.get(PAGE)

    # then
    assert answer.status == 200
    assert "half a pair: ?" in answer.text
    assert "nan" in answer.text


def test_the_log_of_an_ended_run_is_shown(archive: Archive, server: WebServer) -> None:
    # given
    archive.add_ended(a_run(), files={"log": b"loading <data>\nsaved \xff\xfe\n"})

    # when
    page = WebPage(server.get(PAGE).text)

    # then
    assert "loading <data>\nsaved \ufffd\ufffd" in page.text


def test_of_a_long_log_the_end_is_shown(archive: Archive, server: WebServer) -> None:
    # given
    lines = [f"line {number}" for number in range(20_000)]
    archive.add_ended(a_run(), files={"log": "\n".join(lines).encode()})

    # when
    answer = server.get(PAGE)

    # then
    assert "line 19999" in answer.text
    assert "The last 64.0 KB of 204.0 KB" in answer.text
    assert len(answer.body) < 128 * 1024


def test_a_run_whose_files_were_removed_still_has_its_page(
    archive: Archive, server: WebServer
) -> None:
    # given
    folder = archive.add_ended(a_run())
    (folder / "log").unlink()
    folder.rmdir()

    # when
    answer = server.get(PAGE)

    # then
    assert answer.status == 200
    assert "None was kept" in answer.text


def test_the_page_may_run_nothing_and_load_nothing(archive: Archive, server: WebServer) -> None:
    # given
    archive.add(a_run())

    # when
    answer = server.get(PAGE)

    # then
    style = answer.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert answer.headers["content-security-policy"].split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "img-src data: 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    ]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_images_and_matrices_are_shown(archive: Archive, server: WebServer) -> None:
    # given
    data = {"class_labels": ["cat", "dog"], "matrix": [[31, 2], [3, 47]]}
    charts = [
        a_metric("roc", "outputs/images/roc 1.png")._replace(kind="image"),
        a_metric("matrix", {"data": data})._replace(kind="confusion_matrix"),
        a_metric("odd", {"data": [1]})._replace(kind="confusion_matrix"),
        a_metric("lost", "outputs/images/lost.png")._replace(kind="image"),
    ]
    archive.add_ended(a_run(), files={"outputs/images/roc 1.png": b"png"})
    add_metrics(archive.workspace.history, "churn_1_aa", charts, position=1, next_position=2)

    # when
    page = WebPage(server.get(PAGE).text)
    image = server.get("/mltrain/runs/churn_1_aa/files/outputs/images/roc%201.png")

    # then
    assert page.values("img", "src") == ["./churn_1_aa/files/outputs/images/roc%201.png"]
    assert (image.status, image.body) == (200, b"png")
    assert image.headers["content-type"] == "image/png"
    shown = ("cat", "dog", "31", "47", "{'data': [1]}", "outputs/images/lost.png")
    assert [text for text in shown if text not in page.text] == []


def test_a_run_and_its_children_lead_to_each_other(archive: Archive, server: WebServer) -> None:
    # given
    history = archive.workspace.history
    history.add(a_run())
    lines = [
        {
            "type": "child",
            "name": "fold <1>",
            "run": "churn_1_aa_x",
            "value": {"parent": "churn_1_aa"},
        },
        {"type": "metric", "name": "loss", "value": 0.125, "run": "churn_1_aa_x"},
        {"type": "status", "name": "Failed", "value": "too <good>", "run": "churn_1_aa_x"},
        {"type": "model", "name": "churn <m>", "value": {"path": "outputs/m.pkl"}},
        {"type": "display_name", "name": "nightly <run>", "value": None},
    ]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    told = parse_metric_lines(data, is_complete=False)
    history.take_in("churn_1_aa", told.runs, position=0, next_position=told.length)

    # when
    parent = WebPage(server.get(PAGE).text)
    child = WebPage(server.get("/mltrain/runs/churn_1_aa_x").text)

    # then
    assert "./churn_1_aa_x" in parent.links
    assert "./churn_1_aa" in child.links
    in_parent = ("fold <1>", "too <good>", "churn <m>", "outputs/m.pkl", "nightly <run>")
    assert [text for text in in_parent if text not in parent.text] == []
    in_child = ("fold <1>", "too <good>", "0.125", "churn_1_aa_x", "train.py")
    assert [text for text in in_child if text not in child.text] == []
