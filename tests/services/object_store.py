"""A real S3-compatible server, and a relay in front of it that counts, holds up and cuts.

The server is the stand-alone one of moto, in a process of its own: HTTP, signatures that are
verified, multipart uploads, ranges, writes on condition. It keeps everything in memory, and says
nothing of how a store on many machines behaves when one of them fails.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Final

import boto3
import pytest

from scripts.free_port import find_free_port

BUCKET: Final = "training"
_START_SECONDS: Final = 120.0
_CALLS_OF_SET_UP: Final = 3  # before credentials are asked for
_EVERYTHING: Final = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
_numbers = count(1)


@dataclass(frozen=True)
class Seen:
    """One request, as the relay saw it."""

    method: str
    path: str  # of the object, below the bucket
    body_bytes: int
    query: str = ""
    range: str = ""  # of the object, as its header has it

    @property
    def is_sent_blob(self) -> bool:
        """Whether a file of a source directory was sent."""
        return self.method == "PUT" and "/blobs/" in self.path


@dataclass
class ObjectStore:
    """The server and its relay; every test has a prefix of its own."""

    key: str
    secret: str
    server_port: int
    process: subprocess.Popen[bytes]
    seen: list[Seen] = field(default_factory=list)
    strike: Callable[[Seen, int], str | None] | None = None  # told the how-manieth request it is

    def __post_init__(self) -> None:
        self._conditional = threading.Lock()
        self._relay = _Relay(self)
        self._thread = threading.Thread(target=self._relay.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """The URL of the relay."""
        return f"http://127.0.0.1:{self._relay.server_address[1]}"

    def variables(self) -> dict[str, str]:
        """What s3fs and botocore read from the environment."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "2",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def connection(self) -> str:
        """The same as a connection of Airflow's, in JSON."""
        return json.dumps(
            {
                "conn_type": "aws",
                "login": self.key,
                "password": self.secret,
                "extra": {"endpoint_url": self.endpoint, "region_name": "us-east-1"},
            }
        )

    def new_prefix(self) -> str:
        """A place in the bucket that nobody has used."""
        return f"{BUCKET}/test-{next(_numbers)}"

    def client(self) -> Any:
        """Somebody else's program for the server, past the relay."""
        return _client("s3", self.server_port, self.key, self.secret)

    def objects(self, place: str) -> dict[str, bytes]:
        """Every object below a place of the bucket, by the rest of its key."""
        client = self.client()
        prefix = place.removeprefix(f"{BUCKET}/") + "/"
        found: dict[str, bytes] = {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            for entry in page.get("Contents", []):
                body = client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()
                found[entry["Key"].removeprefix(prefix)] = body
        return found

    def remove(self, place: str, key: str) -> None:
        """Take an object away behind everybody's back."""
        prefix = place.removeprefix(f"{BUCKET}/")
        self.client().delete_object(Bucket=BUCKET, Key=f"{prefix}/{key}")

    def forget(self) -> None:
        """Count from nothing, and let everything through."""
        self.seen.clear()
        self.strike = None

    def close(self) -> None:
        """End the relay and the server."""
        self._relay.shutdown()
        self._thread.join()
        self._relay.server_close()
        self.process.kill()
        self.process.wait()

    def relay(self, handler: _Handler) -> None:
        """Pass one request on, unless it is struck."""
        body = handler.read_body()
        path, _, query = handler.path.partition("?")
        request = Seen(
            handler.command,
            path.partition(f"/{BUCKET}")[2],
            len(body),
            query,
            handler.headers.get("Range", ""),
        )
        self.seen.append(request)
        fate = None if self.strike is None else self.strike(request, len(self.seen))
        if fate == "before":
            handler.cut()
            return
        if handler.headers.get("If-None-Match"):
            with self._conditional:  # the server looks first and writes then
                answer = self._forward(handler, body)
        else:
            answer = self._forward(handler, body)
        if fate == "after":
            handler.cut()
        else:
            handler.answer(*answer, is_cut=fate == "within")

    def _forward(
        self, handler: _Handler, body: bytes
    ) -> tuple[int, Mapping[str, str], bytes, int | None]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=120)
        with closing(connection):
            connection.putrequest(
                handler.command, handler.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in handler.headers.items():
                if name.lower() not in ("transfer-encoding", "expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            length = answer.getheader("content-length")
            is_head = handler.command == "HEAD"
            headers = {
                name: value
                for name, value in answer.getheaders()
                if name.lower()
                not in ("content-length", "connection", "date", "server", "transfer-encoding")
            }
            size = int(length) if is_head and length else None
            return answer.status, headers, answer.read(), size


class _Relay(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Relay

    def do_any(self) -> None:
        self.server.store.relay(self)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_any  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        size: int | None,
        *,
        is_cut: bool,
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if is_cut else body)
        if is_cut:
            self.wfile.flush()
            self.cut()


def _client(service: str, port: int, key: str, secret: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


def start_object_store() -> ObjectStore:
    """A server with a bucket and a user who may do everything, and nobody else anything."""
    port = find_free_port()
    environment = {
        **os.environ,
        "INITIAL_NO_AUTH_ACTION_COUNT": str(_CALLS_OF_SET_UP),
        "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(1 << 20),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    iam = _client("iam", port, "nobody", "nothing")
    iam.create_user(UserName="trainer")
    iam.put_user_policy(
        UserName="trainer", PolicyName="all", PolicyDocument=json.dumps(_EVERYTHING)
    )
    made = iam.create_access_key(UserName="trainer")["AccessKey"]
    store = ObjectStore(made["AccessKeyId"], made["SecretAccessKey"], port, process)
    store.client().create_bucket(Bucket=BUCKET)
    return store


@pytest.fixture(scope="session")
def object_store_server() -> Iterator[ObjectStore]:
    """A server for all tests of a process."""
    store = start_object_store()
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def object_store(
    object_store_server: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ObjectStore]:
    """The server, whose credentials and address are in the environment."""
    for name, value in object_store_server.variables().items():
        monkeypatch.setenv(name, value)
    object_store_server.forget()
    yield object_store_server
    object_store_server.forget()
