"""A real registry of Docker images on the loopback interface."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from base64 import b64encode
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bcrypt

from scripts.free_port import find_free_port
from tests.services.patience import PATIENCE_SECONDS
from tests.services.requirement import require

if TYPE_CHECKING:
    from typing_extensions import Self


class DockerRegistry:
    """A registry, empty at first; with a login and a password, it answers only who gives them.

    Use it as a context manager; it ends the test where there is none.
    """

    def __init__(self, login: str | None = None, password: str | None = None) -> None:
        self.login = login
        self.password = password

    def __enter__(self) -> Self:
        if shutil.which("docker-registry") is None:
            require("docker", "there is no docker-registry")
        self._port = find_free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="mltrain-registry-"))
        (self._folder / "config.json").write_text(json.dumps(self._configuration()))
        with (self._folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                # It ends with the tests, also if they are killed.
                ["setpriv", "--pdeathsig", "KILL", "docker-registry", "serve", "config.json"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                start_new_session=True,
            )
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)

    @property
    def address(self) -> str:
        """What the names of its images begin with."""
        return f"127.0.0.1:{self._port}"

    @property
    def log(self) -> str:
        """What it said."""
        return (self._folder / "log").read_text(errors="replace")

    def connection_fields(self) -> dict[str, Any]:
        """The part of an Airflow connection of type `docker` that is about the registry."""
        told = {"host": "127.0.0.1", "port": self._port}
        return {**told, "login": self.login, "password": self.password} if self.login else told

    def repositories(self) -> dict[str, list[str]]:
        """The tags of each repository that has one."""
        found = {
            name: self._ask(f"{name}/tags/list") for name in self._ask("_catalog")["repositories"]
        }
        return {name: sorted(answer["tags"]) for name, answer in found.items() if answer["tags"]}

    def _configuration(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {
                "filesystem": {"rootdirectory": f"{self._folder}/data"},
                "delete": {"enabled": True},
            },
            "http": {"addr": self.address},
        }
        if self.login is not None and self.password is not None:
            digest = bcrypt.hashpw(self.password.encode(), bcrypt.gensalt(4)).decode()
            (self._folder / "passwords").write_text(f"{self.login}:{digest}\n")
            path = f"{self._folder}/passwords"
            settings["auth"] = {"htpasswd": {"realm": "mltrain-test", "path": path}}
        return settings

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def _ask(self, path: str) -> Any:
        headers = {}
        if self.login is not None:
            who = b64encode(f"{self.login}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {who}"
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            connection.request("GET", f"/v2/{path}", headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, (path, answer.status, body)
            return json.loads(body)
