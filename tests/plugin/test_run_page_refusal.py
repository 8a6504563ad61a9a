"""What somebody sees who opens the page of a run that cannot be shown, or not to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.plugin.app import create_app
from airflow_mltrain.settings import Settings
from airflow_mltrain.workspace import Workspace
from tests.fakes.viewer import HIDDEN_DAG_ID, Colleague, refuse_stranger
from tests.plugin.conftest import KEY, Archive, a_run
from tests.services.web_page import WebPage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.web_server import WebServer

PAGE = "/mltrain/runs/churn_1_aa"


def test_an_unknown_run_is_named(server: WebServer) -> None:
    # when
    answer = server.get("/mltrain/runs/%3Cb%3Eno-such-run")

    # then
    assert answer.status == 404
    assert "knows no run <b>no-such-run." in WebPage(answer.text).text
    assert "history.db" not in answer.text


def test_an_address_that_leads_nowhere_is_answered_with_a_page(server: WebServer) -> None:
    # when
    answer = server.get("/mltrain/nowhere")

    # then
    assert answer.status == 404
    assert "There is no such page" in answer.text


def test_a_run_history_that_does_not_answer_is_told_without_details(
    tmp_path: Path, web: WebServer
) -> None:
    # given
    no_database = tmp_path / "secret-place"
    no_database.mkdir()
    workspace = Workspace(Settings(f"sqlite:///{no_database}", tmp_path, tmp_path))
    web.show(create_app(lambda: workspace, Colleague))

    # when
    answer = web.get(PAGE)

    # then
    assert answer.status == 503
    assert "The run history cannot be read now" in answer.text
    assert "secret-place" not in answer.text


def test_a_workspace_that_was_not_configured_well_is_opened_again(
    archive: Archive, web: WebServer
) -> None:
    # given
    archive.add(a_run())
    faults = [ConfigurationError("[mltrain] database = 'typo'")]

    def open_workspace() -> Workspace:
        if faults:
            raise faults.pop()
        return archive.workspace

    web.show(create_app(open_workspace, Colleague))

    # when
    answers = [web.get(PAGE), web.get(PAGE)]

    # then
    assert [answer.status for answer in answers] == [503, 200]


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}/files/log"])
def test_the_runs_of_a_dag_that_one_may_not_read_stay_hidden(
    archive: Archive, server: WebServer, path: str
) -> None:
    # given
    run = a_run(submission=KEY._replace(dag_id=HIDDEN_DAG_ID))
    archive.add_ended(run, files={"log": b"salaries"})

    # when
    answer = server.get(path)

    # then
    assert answer.status == 403
    assert "salaries" not in answer.text
    assert HIDDEN_DAG_ID not in answer.text


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}/files/log", "/mltrain/runs/no-such-run"])
def test_a_stranger_is_asked_to_log_in_and_comes_back(
    archive: Archive, web: WebServer, path: str
) -> None:
    # given
    archive.add_ended(a_run(), files={"log": b"salaries"})
    web.show(create_app(lambda: archive.workspace, refuse_stranger))

    # when
    answer = web.get(path)

    # then
    login = f"/api/v2/auth/login?next={path.replace('/', '%2F')}"
    assert answer.status == 401
    assert WebPage(answer.text).links == ["/", login]


def test_a_child_is_seen_by_those_only_who_may_see_its_parent(
    archive: Archive, server: WebServer
) -> None:
    # given
    history = archive.workspace.history
    history.add(a_run(submission=KEY._replace(dag_id=HIDDEN_DAG_ID)))
    history.add(a_run("churn_1_aa_x", submission=None, parent_run_id="churn_1_aa"))

    # when
    answers = [server.get(f"/mltrain/runs/churn_1_aa_x{end}") for end in ("", "/files/log")]

    # then
    assert [answer.status for answer in answers] == [403, 403]
