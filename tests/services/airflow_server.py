"""A real Airflow api-server with our plugin in it, and the people who use it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from scripts.airflow_stack import AirflowStack
from tests.services.patience import PATIENCE_SECONDS
from tests.services.web_server import Answer, fetch

if TYPE_CHECKING:
    from typing_extensions import Self

REPOSITORY = Path(__file__).parents[2]
AIRFLOW = Path(sys.executable).with_name("airflow")


class AirflowServer:
    """The api-server without the rest of Airflow; has the users `admin` and `viewer`.

    Use it as a context manager.
    """

    def __init__(self, home: Path) -> None:
        settings = {
            "AIRFLOW__CORE__AUTH_MANAGER": "tests.fakes.auth_manager.DiscreetAuthManager",
            "PYTHONPATH": str(REPOSITORY),
        }
        self._stack = AirflowStack(home, home / "dags", settings)
        self._tokens: dict[str, str] = {}

    @property
    def home(self) -> Path:
        """Its `AIRFLOW_HOME`."""
        return self._stack.home

    def __enter__(self) -> Self:
        migrate = [str(AIRFLOW), "db", "migrate"]
        subprocess.run(migrate, env=self._stack.environment, check=True, capture_output=True)
        self._stack.start("api-server")
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.__exit__()

    def get(self, path: str, user: str | None = None, *, token: str | None = None) -> Answer:
        """What a browser gets in which a user is logged in, or nobody."""
        if user is not None:
            token = self._tokens.setdefault(user, self._log_in(user))
        url = urlsplit(self._stack.url)
        assert url.hostname is not None
        assert url.port is not None
        headers = {} if token is None else {"Cookie": f"_token={token}"}
        return fetch(url.hostname, url.port, path, headers)

    def _log_in(self, user: str) -> str:
        passwords = json.loads((self.home / "passwords.json").read_text())
        body = json.dumps({"username": user, "password": passwords[user]}).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self._stack.url}/auth/token", body, headers)  # noqa: S310 - loopback
        with urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
            return str(json.load(answer)["access_token"])

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if self.get("/api/v2/version").status == 200:
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)
