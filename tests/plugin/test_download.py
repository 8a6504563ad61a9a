"""Downloading what a run left behind, and nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import Archive, a_run
from tests.services.web_page import WebPage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.web_server import WebServer

FILES = "/mltrain/runs/churn_1_aa/files/"
SECRET = b"the secret of somebody else"


@pytest.fixture
def folder(archive: Archive) -> Path:
    """What a run left behind, beside what another run left behind."""
    archive.add_ended(a_run("other", submission=None), files={"log": SECRET})
    folder = archive.add_ended(a_run(), files={"log": b"mine", "outputs/model.pkl": b"\0weights"})
    (folder.parent.parent / "secret").write_bytes(SECRET)
    return folder


def test_a_kept_file_comes_as_it_was_and_is_only_ever_saved(
    folder: Path, server: WebServer
) -> None:
    # given
    page = b"<script>alert(document.cookie)</script>"
    (folder / "outputs" / "report.html").write_bytes(page)

    # when
    answer = server.get(f"{FILES}outputs/report.html")

    # then
    assert answer.status == 200
    assert answer.body == page
    assert answer.headers["content-disposition"] == 'attachment; filename="report.html"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name",
    ["a b.txt", "été.txt", "100%2e#?.txt", "a&b<i>.txt", "quote\"'.txt", "...", "-", "a:b", "\\"],
)
def test_every_file_that_the_page_lists_can_be_downloaded(
    folder: Path, server: WebServer, name: str
) -> None:
    # given
    (folder / "outputs" / name).write_bytes(name.encode())
    page = WebPage(server.get("/mltrain/runs/churn_1_aa").text)
    links = [link for link in page.links if link.startswith("./churn_1_aa/files/")]

    # when
    answers = [server.get(f"/mltrain/runs/{link[2:]}") for link in links]

    # then
    assert {answer.status for answer in answers} == {200}
    assert {answer.body for answer in answers} == {b"mine", b"\0weights", name.encode()}


@pytest.mark.parametrize(
    "way_out",
    [
        "../../other/files/log",
        "../other/log",
        "%2e%2e/other/log",
        "%2e%2e%2fother%2flog",
        "..%2f..%2fsecret",
        "%252e%252e/other/log",
        "outputs/../../other/log",
        "outputs/../log",
        "..\\other\\log",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "//etc/passwd",
        "outputs/link",
        "outputs/linked/log",
        "outputs/own-link",
        "outputs/loop",
        "outputs/pipe",
        "outputs",
        "outputs/",
        "",
        ".",
        "..",
        "log%00",
        "log%0a",
        "no-such-file",
        "a" * 5000,
    ],
)
def test_there_is_no_way_out_of_the_folder_of_the_run(
    folder: Path, server: WebServer, way_out: str
) -> None:
    # given
    outputs = folder / "outputs"
    (outputs / "link").symlink_to(folder.parent.parent / "secret")
    (outputs / "linked").symlink_to(folder.parent / "other")
    (outputs / "own-link").symlink_to(folder / "log")
    (outputs / "loop").symlink_to("loop")
    os.mkfifo(outputs / "pipe")

    # when
    answer = server.get(FILES + way_out)

    # then
    assert answer.status == 404
    assert SECRET not in answer.body


@pytest.mark.parametrize("run_id", ["..", "%2e%2e", "no-such-run", "."])
def test_the_files_of_no_run_are_nobodys(folder: Path, server: WebServer, run_id: str) -> None:
    # given
    assert folder.exists()

    # when
    answer = server.get(f"/mltrain/runs/{run_id}/files/secret")

    # then
    assert answer.status == 404
    assert SECRET not in answer.body


def test_links_and_pipes_are_not_listed(folder: Path, server: WebServer) -> None:
    # given
    (folder / "outputs" / "link").symlink_to("/etc/passwd")
    (folder / "outputs" / "linked").symlink_to("/etc")
    os.mkfifo(folder / "outputs" / "pipe")

    # when
    page = WebPage(server.get("/mltrain/runs/churn_1_aa").text)

    # then
    files = [link for link in page.links if "/files/" in link]
    assert files == ["./churn_1_aa/files/log", "./churn_1_aa/files/outputs/model.pkl"]


def test_a_name_that_no_address_can_hold_is_listed_without_a_link(
    folder: Path, server: WebServer
) -> None:
    # given
    name = os.fsencode(folder / "outputs") + b"/caf\xe9\n.txt"
    with open(name, "wb"):  # noqa: PTH123 - a path has no bytes
        pass

    # when
    page = WebPage(server.get("/mltrain/runs/churn_1_aa").text)

    # then
    assert "outputs/caf?" in page.text
    assert len([link for link in page.links if "/files/" in link]) == 2


def test_of_very_many_files_the_first_are_listed(folder: Path, server: WebServer) -> None:
    # given
    (folder / "outputs" / "shards").mkdir()
    for number in range(1100):
        (folder / "outputs" / "shards" / f"{number:04}").touch()

    # when
    answer = server.get("/mltrain/runs/churn_1_aa")

    # then
    assert "These are the first 1,000; there are more." in answer.text
    assert answer.text.count("/files/outputs/shards/") == 998
