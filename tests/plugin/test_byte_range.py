"""A part of a file that a run left behind, from a folder and from a bucket."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain import Workspace
from airflow_mltrain.plugin.app import create_app
from airflow_mltrain.plugin.byte_range import find_range
from airflow_mltrain.settings import StoreUrl
from tests.fakes.viewer import Colleague
from tests.plugin.conftest import Archive, a_run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.object_store import ObjectStore
    from tests.services.web_server import WebServer

PART = 8 << 20
SIZE = PART + 1000
CONTENT = (bytes(range(251)) * (SIZE // 251 + 1))[:SIZE]
MODEL = "/mltrain/runs/churn_1_aa/files/outputs/model"
EMPTY = "/mltrain/runs/churn_1_aa/files/outputs/empty"


def show(workspace: Workspace, web: WebServer) -> WebServer:
    """Serve a run that left a large file and an empty one."""
    with workspace.artifacts.keep_run("churn_1_aa") as folder:
        (folder / "log").touch()
        (folder / "outputs").mkdir()
        (folder / "outputs/model").write_bytes(CONTENT)
        (folder / "outputs/empty").touch()
    web.show(create_app(lambda: workspace, Colleague))
    return web


@pytest.fixture
def bucket(
    archive: Archive, web: WebServer, tmp_path: Path, object_store: ObjectStore
) -> WebServer:
    archive.add_ended(a_run())
    url = StoreUrl("s3", object_store.new_prefix())
    settings = replace(archive.workspace.settings, artifacts_url=url, artifacts=tmp_path / "cache")
    return show(Workspace(settings), web)


@pytest.fixture(params=["folder", "bucket"])
def server(request: pytest.FixtureRequest, archive: Archive, web: WebServer) -> WebServer:
    if request.param == "bucket":
        found: WebServer = request.getfixturevalue("bucket")
        return found
    archive.add(a_run())
    return show(archive.workspace, web)


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=5-1004", 5, 1004),
        (f"bytes={PART - 2}-{PART + 1}", PART - 2, PART + 1),
        (f"bytes={SIZE - 3}-", SIZE - 3, SIZE - 1),
        ("bytes=-7", SIZE - 7, SIZE - 1),
        (f"bytes=-{SIZE + 1}", 0, SIZE - 1),
        ("bytes=1-99999999999999999999999", 1, SIZE - 1),
        ("BYTES=2-3", 2, 3),
    ],
)
def test_so_much_of_a_file_comes_as_is_asked_for(
    server: WebServer, asked: str, first: int, last: int
) -> None:
    answer = server.get(MODEL, {"Range": asked})

    assert answer.status == 206
    assert answer.body == CONTENT[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["content-length"] == str(last - first + 1)
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "asked", "size"),
    [
        (MODEL, f"bytes={SIZE}-", SIZE),
        (MODEL, f"bytes={SIZE}-{SIZE + 5}", SIZE),
        (MODEL, "bytes=-0", SIZE),
        (EMPTY, "bytes=0-", 0),
        (EMPTY, "bytes=-5", 0),
    ],
)
def test_what_the_file_does_not_have_is_told_with_its_size(
    server: WebServer, path: str, asked: str, size: int
) -> None:
    answer = server.get(path, {"Range": asked})

    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{size}"


def test_who_has_a_part_of_another_file_gets_all_of_this_one(server: WebServer) -> None:
    whole = server.get(MODEL)
    known = whole.headers["etag"]

    same = server.get(MODEL, {"Range": "bytes=5-9", "If-Range": known})
    others = [
        server.get(MODEL, {"Range": "bytes=5-9", "If-Range": other})
        for other in ('"another"', f"W/{known}", "Thu, 01 Jan 1970 00:00:00 GMT")
    ]

    assert (whole.status, whole.body) == (200, CONTENT)
    assert whole.headers["accept-ranges"] == "bytes"
    assert (same.status, same.body) == (206, CONTENT[5:10])
    assert [(other.status, other.body) for other in others] == [(200, CONTENT)] * 3
    assert server.get(EMPTY).body == b""


def test_no_more_is_fetched_than_is_asked_for_and_never_much_at_once(
    bucket: WebServer, object_store: ObjectStore
) -> None:
    def ranges(asked: str | None) -> list[str]:
        object_store.forget()
        bucket.get(MODEL, {} if asked is None else {"Range": asked})
        return [seen.range for seen in object_store.seen if seen.path.endswith("/outputs/model")]

    assert ranges("bytes=100-199") == ["bytes=100-199"]
    assert ranges("bytes=-5") == [f"bytes={SIZE - 5}-{SIZE - 1}"]
    assert ranges(f"bytes={SIZE}-") == []
    assert ranges(None) == [f"bytes=0-{PART - 1}", f"bytes={PART}-{SIZE - 1}"]


def test_a_store_that_does_not_answer_is_told_of_in_place_of_a_part(
    bucket: WebServer, object_store: ObjectStore
) -> None:
    object_store.strike = lambda seen, _number: "before" if "/outputs/" in seen.path else None

    answer = bucket.get(MODEL, {"Range": "bytes=5-9"})

    assert answer.status == 503
    assert "does not answer now" in answer.text


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "bytes", "bytes=", "bytes=-", "bytes=2-1", "bytes=0-0,5-6", "bytes=a-b"),
        *("bytes=+1-2", "lines=0-1", "bytes=1_0-20", "bytes=\u0661-5", "bytes=--5"),
        f"bytes=0-{'9' * 5000}",
    ],
)
def test_a_range_that_is_none_asks_for_the_whole_file(header: str | None) -> None:
    assert find_range(header, 10, entity_tag='"a"') is None
