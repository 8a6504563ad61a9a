"""A real Airflow of one machine: API server, scheduler, Dag processor and triggerer."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing, suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from scripts.free_port import find_free_port

if TYPE_CHECKING:
    from typing_extensions import Self

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
# Only what never comes is waited for so long, however much else the machine does.
PATIENCE_SECONDS = 600.0
_AIRFLOW = Path(sys.executable).with_name("airflow")
_USER = "admin"
_END_SECONDS = 20.0
_ANSWER_SECONDS = 120.0
# SQLite's own five are few for a commit on a busy machine. More than many would not do: Airflow
# 3.3 writes its audit log on the event loop of its API, which another answer may need to commit
# what that write waits for; so both wait, until this is over.
_SQLITE_SECONDS = 30


class AirflowStack:
    """Starts the four components below one `AIRFLOW_HOME`, each a process of its own.

    Use it as a context manager. Its ports are free ones of the loopback interface. Airflow's
    database is the PostgreSQL one at `database_url`, or a file of SQLite in the home folder.
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        settings: Mapping[str, str] | None = None,
        database_url: str | None = None,
    ) -> None:
        self.home = home
        port, worker_log_port, trigger_log_port = (find_free_port() for _ in range(3))
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not _is_airflow(name)},
            "AIRFLOW_HOME": str(home),
            **_database(home, database_url),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY": _secret(home),
            "AIRFLOW__API_AUTH__JWT_SECRET": _secret(home),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_log_port),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_log_port),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
            **(settings or {}),
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._passing = [HTTPStatus.NOT_FOUND]  # there is no such Dag yet
        if database_url is None:
            self._passing.append(HTTPStatus.INTERNAL_SERVER_ERROR)  # the wait above was over
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._token: str | None = None

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [_AIRFLOW, "db", "migrate"],
            env=self.environment,
            check=True,
            capture_output=True,
        )
        for component in COMPONENTS:
            self.start(component)
        self.wait_until_healthy()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _END_SECONDS
        for component, process in self._processes.items():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            self.kill(component)

    def start(self, component: str) -> None:
        """Start one component; its output goes to a file in the home folder."""
        with (self.home / f"{component}.log").open("ab") as output:
            self._processes[component] = subprocess.Popen(
                [_AIRFLOW, component],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self, component: str, *, spares_tasks: bool = False) -> None:
        """Kill one component and all that it began without a warning, as its host's loss does.

        The tasks of a scheduler lead process groups of their own. Those that are spared hold its
        connections to the database open, and with them its locks, for as long as they live.
        """
        process = self._processes[component]
        if spares_tasks:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            _kill_session(process.pid)
        process.wait()

    def kill_all(self) -> None:
        """End at once what nobody looks at any more, and wait for no task."""
        for component in COMPONENTS:
            self.kill(component)

    def pid(self, component: str) -> int:
        """The process of a component; it leads a process group."""
        return self._processes[component].pid

    def wait_until_healthy(self) -> None:
        """Wait until all components have reported; raises TimeoutError naming one that did not."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        names = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        while True:
            try:
                health = _fetch(f"{self.url}/api/v2/monitor/health")
                sick = [name for name in names if health[name]["status"] != "healthy"]
            except (OSError, KeyError):
                sick = ["api-server"]
            if not sick:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"not healthy: {', '.join(sick)}; see {self.home}/*.log")
            time.sleep(0.2)

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Call Airflow's REST API as its administrator."""
        if self._token is None:
            passwords = json.loads((self.home / "passwords.json").read_text())
            login = {"username": _USER, "password": passwords[_USER]}
            self._token = _fetch(f"{self.url}/auth/token", "POST", login)["access_token"]
        return _fetch(f"{self.url}/api/v2/{path}", method, body, self._token)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a Dag run once the Dag is known, and return its id."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                body = {"logical_date": None, "conf": dict(conf or {})}
                return str(self.api("POST", f"dags/{dag_id}/dagRuns", body)["dag_run_id"])
            except urllib.error.HTTPError as error:
                if error.code not in self._passing or time.monotonic() > deadline:
                    raise RuntimeError(error.read().decode()) from error
                time.sleep(0.5)

    def dag_run_state(self, dag_id: str, dag_run_id: str) -> str:
        """The state of a Dag run."""
        return str(self.api("GET", f"dags/{dag_id}/dagRuns/{quote(dag_run_id)}")["state"])

    def wait_for_dag_run(self, dag_id: str, dag_run_id: str) -> str:
        """Wait for the end of a Dag run and return its state."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (state := self.dag_run_state(dag_id, dag_run_id)) not in ("success", "failed"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"Dag run {dag_run_id} is {state} after {PATIENCE_SECONDS} s")
            time.sleep(0.2)
        return state

    def task_instance(
        self, dag_id: str, dag_run_id: str, task_id: str, map_index: int = -1
    ) -> Any:
        """What the API says of a task instance."""
        path = _task_path(dag_id, dag_run_id, task_id)
        return self.api("GET", path if map_index < 0 else f"{path}/{map_index}")

    def xcom(self, dag_id: str, dag_run_id: str, task_id: str, key: str = "return_value") -> Any:
        """A value that a task left, decoded; None where there is none."""
        path = f"{_task_path(dag_id, dag_run_id, task_id)}/xcomEntries/{key}?deserialize=true"
        try:
            return self.api("GET", path)["value"]
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise

    def task_log_entries(
        self, dag_id: str, dag_run_id: str, task_id: str, try_number: int = 1
    ) -> list[dict[str, Any]]:
        """A task's log as Airflow keeps it, an entry a message."""
        path = f"{_task_path(dag_id, dag_run_id, task_id)}/logs/{try_number}?full_content=true"
        return list(self.api("GET", path)["content"])

    def task_log(self, dag_id: str, dag_run_id: str, task_id: str, try_number: int = 1) -> str:
        """The messages of a task's log, a line each, and the errors they tell of."""
        lines: list[str] = []
        for entry in self.task_log_entries(dag_id, dag_run_id, task_id, try_number):
            lines.append(str(entry["event"]))
            lines += [str(error["exc_value"]) for error in entry.get("error_detail") or ()]
        return "\n".join(lines)


def _task_path(dag_id: str, dag_run_id: str, task_id: str) -> str:
    return f"dags/{dag_id}/dagRuns/{quote(dag_run_id)}/taskInstances/{task_id}"


def _database(home: Path, url: str | None) -> dict[str, str]:
    if url is None:
        path = f"{home.absolute()}/airflow.db?timeout={_SQLITE_SECONDS}"
        return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{path}"}
    url = url.replace("postgresql:", "postgresql+psycopg:", 1)
    names = ("SQL_ALCHEMY_CONN", "SQL_ALCHEMY_CONN_ASYNC")
    return {f"AIRFLOW__DATABASE__{name}": url for name in names}


def _is_airflow(variable: str) -> bool:
    return variable.startswith(("AIRFLOW_", "_AIRFLOW_"))


def _secret(home: Path) -> str:
    path = home / "secret"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(32))
        path.chmod(0o600)
    return path.read_text()


def _fetch(url: str, method: str = "GET", body: object = None, token: str | None = None) -> Any:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - loopback
    with closing(urllib.request.urlopen(request, timeout=_ANSWER_SECONDS)) as answer:  # noqa: S310
        return json.loads(answer.read() or b"null")


def _kill_session(session: int) -> None:
    """Kill a process and all that it began, but for what began a session of its own."""
    while members := _members_of(session):
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _members_of(session: int) -> list[int]:
    """The live processes of a session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            status, _, _, its_session = (
                (entry / "stat").read_bytes().rpartition(b")")[2].split(maxsplit=4)[:4]
            )
            if int(its_session) == session and status not in (b"Z", b"X"):
                found.append(int(entry.name))
    return found
