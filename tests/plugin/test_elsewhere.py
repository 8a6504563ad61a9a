"""The page of a run whose artifacts lie at a URL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from airflow_mltrain import Workspace
from airflow_mltrain.plugin.app import create_app
from airflow_mltrain.settings import StoreUrl
from tests.fakes.viewer import Colleague
from tests.plugin.conftest import Archive, a_run
from tests.services.web_page import WebPage
from tests.services.web_server import WebServer

FILES = "/mltrain/runs/churn_1_aa/files/"


@pytest.fixture
def elsewhere(archive: Archive, web: WebServer, tmp_path: Path) -> WebServer:
    """Shows a run with a long log and an output, of which this machine has no copy."""
    archive.add_ended(a_run())
    url = StoreUrl("memory", uuid4().hex)
    settings = replace(archive.workspace.settings, artifacts_url=url, artifacts=tmp_path / "cache")
    workspace = Workspace(settings)
    with workspace.artifacts.keep_run("churn_1_aa") as folder:
        (folder / "log").write_bytes(b"a line\n" * 100_000 + b"the end\n")
        (folder / "outputs").mkdir()
        (folder / "outputs/é&<i>.txt").write_bytes(b"kept" * 5_000_000)
        (folder / "outputs/link").symlink_to("é&<i>.txt")
    web.show(create_app(lambda: workspace, Colleague))
    return web


def test_the_end_of_the_log_and_every_file_are_shown_and_come_whole(elsewhere: WebServer) -> None:
    page = elsewhere.get("/mltrain/runs/churn_1_aa").text
    links = [link for link in WebPage(page).links if link.startswith("./churn_1_aa/files/")]

    answers = [elsewhere.get(f"/mltrain/runs/{link.removeprefix('./')}") for link in links]

    assert "the end" in page
    assert len(page) < 200_000
    assert [answer.status for answer in answers] == [200] * len(links)
    assert b"kept" * 5_000_000 in [answer.body for answer in answers]
    assert {answer.headers["content-disposition"].partition(";")[0] for answer in answers} == {
        "attachment"
    }


@pytest.mark.parametrize(
    "name", ["none", "../manifest.json", "outputs", "outputs/link", "%2e%2e/x"]
)
def test_nothing_else_comes(elsewhere: WebServer, name: str) -> None:
    assert elsewhere.get(f"{FILES}{name}").status == 404
