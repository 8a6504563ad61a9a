"""The gateway of a master, on a network that loses the answer to the first driver."""

from __future__ import annotations

import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.services.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from typing_extensions import Self

_HOST = "127.0.0.1"


class ForgetfulGateway:
    """Hands all questions on to a real gateway; use it as a context manager."""

    def __init__(self, port: int) -> None:
        self.created = 0  # drivers that the master was asked for
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._hand_on(b"")

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                is_create = self.path.endswith("/create")
                owner.created += is_create
                self._hand_on(content, is_lost=is_create and owner.created == 1)

            def _hand_on(self, content: bytes, *, is_lost: bool = False) -> None:
                connection = HTTPConnection(_HOST, port, timeout=PATIENCE_SECONDS)
                headers = {"Content-Type": "application/json"}
                connection.request(self.command, self.path, content, headers)
                answer = connection.getresponse()
                body = answer.read()
                connection.close()
                if is_lost:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((_HOST, 0), Handler)
        self.address = f"http://{_HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
