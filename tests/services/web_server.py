"""A real web server that serves an app as Airflow's api-server does: mounted in its own."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from tests.services.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send


@dataclass(frozen=True)
class Answer:
    """What came back for one request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class WebServer:
    """Listens on a free port of the loopback interface until closed; shows one app at a time."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None
        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            self._answer, interface="asgi3", ws="none", lifespan="off", log_level="error"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self._thread.start()

    def show(self, app: ASGIApp, root_path: str = "") -> None:
        """Serve an app below `/mltrain` from now on, in place of the one before."""
        outer = FastAPI(root_path=root_path)
        outer.mount("/mltrain", app)
        self._app = outer

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for a path exactly as it is written, `..` and all."""
        host, port = self._socket.getsockname()
        return fetch(host, port, path, headers)

    def close(self) -> None:
        """End the server."""
        self._server.should_exit = True
        self._thread.join()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._app is not None
        await self._app(scope, receive, send)


def fetch(host: str, port: int, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """One GET request, without following redirects or tidying up the path."""
    with closing(http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("GET", path, headers=dict(headers or {}))
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())
