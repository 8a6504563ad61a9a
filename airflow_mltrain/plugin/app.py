"""The web app behind `/mltrain`: the page of a run, and the files that were kept of it."""

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import cache
from itertools import chain
from pathlib import PurePosixPath
from typing import Annotated, Protocol
from urllib.parse import quote, urlencode

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, StreamingResponse
from starlette.exceptions import HTTPException

from airflow_mltrain.artifacts.folder_run import FolderRun
from airflow_mltrain.artifacts.store import KeptFile as ListedFile
from airflow_mltrain.artifacts.store import KeptRun as ArtifactsOfRun
from airflow_mltrain.errors import (
    ArtifactError,
    ConfigurationError,
    RunHistoryError,
    RunNotFoundError,
)
from airflow_mltrain.plugin.byte_range import find_range
from airflow_mltrain.plugin.kept_run import (
    KeptRun,
    find_file,
    find_listed,
    read_kept_run,
    read_run_elsewhere,
)
from airflow_mltrain.plugin.page import RunPage, render_message, render_run, security_headers
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.workspace import Workspace

log = logging.getLogger(__name__)

# What a page shows in place; an image of any other kind could hold a script.
_IMAGES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
_PART_BYTES = 8 * 1024 * 1024
_TITLES = {
    401: "You are not logged in",
    403: "You may not see this run",
    404: "There is no such page",
}
_TEXTS = {
    401: "Log in to Airflow to see training runs.",
    403: "It belongs to a Dag whose runs you may not read. Ask whoever grants access in Airflow.",
    404: "Check the address; the page of a run is /mltrain/runs/ and the run's id.",
}


class Viewer(Protocol):
    """The person who asks, and what that person may see."""

    def require_access(self, run: RunRecord) -> None:
        """Raise HTTPException 403 where the run is not for this person."""


def create_app(
    open_workspace: Callable[[], Workspace], find_viewer: Callable[..., Viewer]
) -> FastAPI:
    """The app, which opens the workspace at its first request.

    `find_viewer` is a dependency of every route; it raises HTTPException 401 for a stranger.
    """
    workspace = cache(open_workspace)
    app = FastAPI(
        title="Training runs",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(find_viewer)],
        exception_handlers={
            HTTPException: _answer_refusal,
            RunNotFoundError: _answer_unknown_run,
            RunHistoryError: _answer_unavailable,
            ConfigurationError: _answer_unavailable,
            ArtifactError: _answer_no_artifacts,
        },
    )

    @app.get("/runs/{run_id}")
    def show_run(
        run_id: str, request: Request, viewer: Annotated[Viewer, Depends(find_viewer)]
    ) -> Response:
        begun = time.monotonic()
        history = workspace().history
        run = history.get(run_id)
        submitted = history.find_submitted(run_id)
        viewer.require_access(submitted)
        kept = KeptRun()
        if submitted.status.is_terminal:
            kept = _read_kept(workspace(), submitted.run_id)
        page = RunPage(
            run=run,
            metrics=history.get_metrics(run_id),
            kept=kept,
            airflow_path=request.base_url.path,
            now=datetime.now(timezone.utc),
            submitted=submitted,
            children=history.list_children(run_id),
            models=history.get_models(run_id),
            work_seconds=time.monotonic() - begun,
        )
        return _html(200, render_run(page))

    @app.get("/runs/{run_id}/files/{name:path}")
    def download_file(
        run_id: str,
        name: str,
        request: Request,
        viewer: Annotated[Viewer, Depends(find_viewer)],
    ) -> Response:
        run = workspace().history.find_submitted(run_id)
        viewer.require_access(run)
        found = workspace().artifacts.find_run(run.run_id)
        if isinstance(found, FolderRun):
            path = find_file(found.folder, name)
            if path is not None:
                media_type, headers = _media_type(path.name), security_headers()
                return FileResponse(
                    path, filename=path.name, media_type=media_type, headers=headers
                )
        elif found is not None and (file := find_listed(found, name)) is not None:
            return _stream(found, file, request)
        text = "The page of the run lists what was kept of it."
        return _message(request, 404, "The run kept no such file", text)

    return app


def _read_kept(workspace: Workspace, run_id: str) -> KeptRun:
    try:
        found = workspace.artifacts.find_run(run_id)
        if found is None or isinstance(found, FolderRun):
            return KeptRun() if found is None else read_kept_run(found.folder)
        return read_run_elsewhere(found)
    except ArtifactError as error:
        log.error("the artifacts of run %s cannot be shown: %s", run_id, error)  # noqa: TRY400
        return KeptRun(fault="the artifact store does not answer")


def _stream(kept: ArtifactsOfRun, file: ListedFile, request: Request) -> Response:
    """A file that is not on this machine, or the range of it that is asked for, part by part."""
    filename = file.name.rpartition("/")[2]
    tag = f'"{file.sha256}"'
    headers = {
        **security_headers(),
        "accept-ranges": "bytes",
        "content-disposition": f"attachment; filename*=utf-8''{quote(filename, safe='')}",
        "etag": tag,
    }
    asked = find_range(
        request.headers.get("range"),
        file.size_bytes,
        entity_tag=tag,
        if_range=request.headers.get("if-range"),
    )
    if asked is not None and not asked:
        headers["content-range"] = f"bytes */{file.size_bytes}"
        return Response(status_code=416, headers=headers)
    if asked is not None:
        headers["content-range"] = f"bytes {asked.start}-{asked.stop - 1}/{file.size_bytes}"
    positions = range(file.size_bytes) if asked is None else asked
    parts = _read_parts(kept, file.name, positions)
    start = next(parts, b"")  # a store that does not answer is told of while that can be told
    return StreamingResponse(
        chain([start], parts),
        status_code=200 if asked is None else 206,
        media_type=_media_type(filename),
        headers={**headers, "content-length": str(len(positions))},
    )


def _read_parts(kept: ArtifactsOfRun, name: str, positions: range) -> Iterator[bytes]:
    for start in range(positions.start, positions.stop, _PART_BYTES):
        yield kept.read(name, start, min(_PART_BYTES, positions.stop - start))


def _media_type(filename: str) -> str:
    suffix = PurePosixPath(filename).suffix.lower()
    return _IMAGES.get(suffix, "application/octet-stream")


async def _answer_refusal(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = _TEXTS.get(status, "The request cannot be answered.")
    return _message(request, status, _TITLES.get(status, "This does not work"), text)


async def _answer_unknown_run(request: Request, error: Exception) -> Response:
    del error  # it names the database, which is no reader's business
    run_id = request.path_params.get("run_id", "")
    text = f"The run history knows no run {run_id}. Check the id in the address."
    return _message(request, 404, "There is no such run", text)


async def _answer_unavailable(request: Request, error: Exception) -> Response:
    return _message_for_now(
        request, error, "The run history cannot be read now", "Runs go on all the same."
    )


async def _answer_no_artifacts(request: Request, error: Exception) -> Response:
    return _message_for_now(
        request,
        error,
        "The artifact store does not answer now",
        "What was kept of the run is there all the same.",
    )


def _message_for_now(request: Request, error: Exception, heading: str, comfort: str) -> Response:
    log.error("%s cannot be shown: %s", request.url.path, error)
    hint = "Reload this page in a while; the log of Airflow's api-server has the reason."
    return _message(request, 503, heading, f"{comfort} {hint}")


def _message(request: Request, status: int, title: str, text: str) -> Response:
    airflow_path = request.base_url.path
    login_path = ""
    if status == 401:  # noqa: PLR2004
        query = urlencode({"next": request.url.path})
        login_path = f"{airflow_path}api/v2/auth/login?{query}"
    content = render_message(title, text, airflow_path=airflow_path, login_path=login_path)
    return _html(status, content)


def _html(status: int, content: bytes) -> Response:
    return HTMLResponse(content, status, headers=security_headers())
