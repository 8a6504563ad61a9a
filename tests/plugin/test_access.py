"""Who may see which page, asked of a real Airflow api-server."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from fastapi.routing import APIRoute

from airflow_mltrain.plugin.app import create_app
from tests.fakes.viewer import HIDDEN_DAG_ID, Colleague
from tests.plugin.conftest import KEY, Archive, a_run
from tests.services.airflow_server import AirflowServer
from tests.services.web_page import WebPage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.routing import BaseRoute

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

PAGE = "/mltrain/runs/churn_1_aa"
HIDDEN_PAGE = "/mltrain/runs/salaries_1_bb"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowServer]:
    """An Airflow whose run history has a run that all may see, and one that only admins may."""
    home = tmp_path_factory.mktemp("airflow")
    archive = Archive(home / "mltrain")
    with closing(archive.workspace.history):
        archive.add_ended(a_run(), files={"log": b"trained\n"})
        key = KEY._replace(dag_id=HIDDEN_DAG_ID)
        archive.add_ended(a_run("salaries_1_bb", submission=key), files={"log": b"secret\n"})
    with AirflowServer(home) as airflow:
        yield airflow


def test_no_route_answers_a_stranger(airflow: AirflowServer) -> None:
    # given
    app = create_app(lambda: Archive(airflow.home).workspace, Colleague)
    values = {"{run_id}": "churn_1_aa", "{name:path}": "log"}
    paths = [_fill_in(route, values) for route in app.routes]

    # when
    answers = [airflow.get(f"/mltrain{path}") for path in paths]

    # then
    assert sorted(paths) == ["/runs/churn_1_aa", "/runs/churn_1_aa/files/log"]
    assert [answer.status for answer in answers] == [401, 401]
    assert not [answer for answer in answers if "trained" in answer.text]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/", "/runs", "/static"])
def test_nothing_but_the_routes_is_served(airflow: AirflowServer, path: str) -> None:
    assert airflow.get(f"/mltrain{path}", "admin").status == 404


@pytest.mark.parametrize("user", ["admin", "viewer"])
def test_who_is_logged_in_sees_the_page_of_a_run(airflow: AirflowServer, user: str) -> None:
    # when
    answer = airflow.get(PAGE, user)

    # then
    assert answer.status == 200
    assert "trained" in WebPage(answer.text).text


def test_who_is_logged_in_can_download_what_was_kept(airflow: AirflowServer) -> None:
    # when
    answer = airflow.get(f"{PAGE}/files/log", "viewer")

    # then
    assert (answer.status, answer.body) == (200, b"trained\n")


@pytest.mark.parametrize("path", [HIDDEN_PAGE, f"{HIDDEN_PAGE}/files/log"])
def test_airflow_decides_whose_runs_somebody_may_see(airflow: AirflowServer, path: str) -> None:
    # when
    answers = {user: airflow.get(path, user) for user in ("viewer", "admin")}

    # then
    assert answers["admin"].status == 200
    assert answers["viewer"].status == 403
    assert "secret" not in answers["viewer"].text


def test_a_forged_login_opens_nothing(airflow: AirflowServer) -> None:
    # when
    answer = airflow.get(PAGE, token="eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.")

    # then
    assert answer.status == 403
    assert "trained" not in answer.text


def test_the_way_to_the_login_leads_back_to_the_page(airflow: AirflowServer) -> None:
    # given
    login = WebPage(airflow.get(PAGE).text).links[-1]

    # when
    answer = airflow.get(login)

    # then
    assert answer.status == 307
    assert answer.headers["location"] == "/auth/login?next=%2Fmltrain%2Fruns%2Fchurn_1_aa"


def test_an_unknown_run_is_said_to_be_unknown(airflow: AirflowServer) -> None:
    # when
    answer = airflow.get("/mltrain/runs/no-such-run", "viewer")

    # then
    assert answer.status == 404
    assert "knows no run no-such-run" in answer.text


def _fill_in(route: BaseRoute, values: dict[str, str]) -> str:
    assert isinstance(route, APIRoute)
    path = route.path
    for name, value in values.items():
        path = path.replace(name, value)
    return path
