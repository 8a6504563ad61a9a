"""A real standalone Spark cluster: a master and workers of this machine, on loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from scripts.free_port import find_free_port
from tests.services.patience import PATIENCE_SECONDS
from tests.services.requirement import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

SPARK_FOLDER = Path(__file__).parents[2] / ".spark"
_HOST = "127.0.0.1"
_MASTER = "org.apache.spark.deploy.master.Master"
_WORKER = "org.apache.spark.deploy.worker.Worker"
_QUICK = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
_QUICK_JAVA = SPARK_FOLDER / "java"


def find_spark_home() -> Path:
    """The folder of the tests' Spark distribution; ends the test where there is none."""
    if shutil.which("java") is None:
        require("java", "there is no program java")
    for home in SPARK_FOLDER.glob("lib/python3.*/site-packages/pyspark"):
        return home
    return require("spark", "there is no Spark in .spark; run scripts/install-services")


def quick_java() -> dict[str, str]:
    """The variables of a Java that has Spark's classes at hand, if there is one."""
    return {"JAVA_HOME": str(_QUICK_JAVA)} if (_QUICK_JAVA / "bin" / "java").exists() else {}


class SparkCluster:
    """A master and `workers` workers of one core and a gibibyte each, for as long as it is open.

    Use it as a context manager; it leaves no process and no file behind.
    """

    def __init__(self, workers: int = 2, cores: int = 1, memory: str = "1g") -> None:
        self.home = find_spark_home()
        self._wanted = workers
        self._size = ("--cores", str(cores), "--memory", memory)
        self.folder = Path(tempfile.mkdtemp(prefix="mltrain-spark-cluster-"))
        self.folder.chmod(0o755)
        self._master: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.port, self.pages_port = find_free_port(), find_free_port()
        self.rest_port = find_free_port()
        self.start_master()
        for _ in range(self._wanted):
            self._begin_worker()
        self.await_workers(self._wanted)
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.workers, self._master]:
            if process is not None:
                self.kill(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def master_url(self) -> str:
        """What applications register at."""
        return f"spark://{_HOST}:{self.port}"

    @property
    def pages(self) -> str:
        """The master's pages."""
        return f"http://{_HOST}:{self.pages_port}"

    def cluster_connection(self, **mltrain: Any) -> dict[str, Any]:
        """The same, with drivers on the cluster itself."""
        gateway = f"http://{_HOST}:{self.rest_port}"
        told = {"spark_home": None, "environment_variables": None, "master_gateway": gateway}
        connection = self.connection(**{**told, **mltrain})
        connection["extra"]["deploy-mode"] = "cluster"
        return connection

    def connection(self, **mltrain: Any) -> dict[str, Any]:
        """An Airflow connection to the cluster, with our own settings in its extra."""
        told = {
            "spark_home": str(self.home),
            "master_pages": self.pages,
            "environment_variables": self.variables(),
            **mltrain,
        }
        given = {key: value for key, value in told.items() if value is not None}
        return {
            "conn_type": "spark",
            "host": f"spark://{_HOST}",
            "port": self.port,
            "extra": {"mltrain": given},
        }

    def connection_json(self, **mltrain: Any) -> str:
        """The same, as a variable AIRFLOW_CONN_<ID> holds it."""
        return json.dumps(self.connection(**mltrain))

    def variables(self) -> dict[str, str]:
        """What a driver on this machine needs to be found by the workers."""
        return {"SPARK_LOCAL_IP": _HOST, "SPARK_SUBMIT_OPTS": _QUICK, **quick_java()}

    def start_master(self) -> None:
        """Begin the master, also after it was killed, and wait until its pages answer."""
        self._master = self._begin(
            "master",
            (_MASTER, "--host", _HOST, "--port", str(self.port)),
            ("--webui-port", str(self.pages_port)),
            java=f"-Dspark.master.rest.port={self.rest_port}",
        )
        self._await(lambda: self.state() is not None, "the master does not answer")

    def kill_master(self) -> None:
        """End the master at once."""
        assert self._master is not None
        self.kill(self._master)

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Add a worker, and wait until the master knows it."""
        count = len(self.alive_workers())
        worker = self._begin_worker()
        self.await_workers(count + 1)
        return worker

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a master, or a worker with its executors, as a power cut does."""
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        process.wait()

    def state(self) -> dict[str, Any] | None:
        """What the master says of its cluster; None where it does not answer."""
        try:
            with build_opener(ProxyHandler({})).open(f"{self.pages}/json/", timeout=60) as answer:
                return dict(json.load(answer))
        except (URLError, OSError, ValueError):
            return None

    def alive_workers(self) -> list[dict[str, Any]]:
        """The workers that the master counts on."""
        state = self.state() or {"workers": []}
        return [worker for worker in state["workers"] if worker["state"] == "ALIVE"]

    def active_applications(self) -> list[dict[str, Any]]:
        """The applications that the master knows as running or waiting."""
        return list((self.state() or {"activeapps": []})["activeapps"])

    def active_drivers(self) -> list[dict[str, Any]]:
        """The drivers that the master has on its workers, or keeps waiting."""
        return list((self.state() or {"activedrivers": []})["activedrivers"])

    def kill_application(self) -> None:
        """Have the master end the one application there is, as its page's button does."""
        (application,) = self.active_applications()
        form = f"id={application['id']}&terminate=true".encode()
        with build_opener(ProxyHandler({})).open(f"{self.pages}/app/kill/", form, timeout=60):
            pass

    def kill_driver(self) -> None:
        """Have the master end the one driver there is."""
        (driver,) = self.active_drivers()
        path = f"http://{_HOST}:{self.rest_port}/v1/submissions/kill/{driver['id']}"
        with build_opener(ProxyHandler({})).open(path, b"{}", timeout=60):
            pass

    def await_workers(self, count: int) -> None:
        """Wait until the master counts on so many."""
        self._await(lambda: len(self.alive_workers()) == count, f"there are not {count} workers")

    def executors(self) -> list[int]:
        """The live executor processes of this machine that belong to the cluster."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                place = str((entry / "cwd").readlink()) if words else ""
            except OSError:
                continue
            if b"CoarseGrainedExecutorBackend" in words and place.startswith(str(self.folder)):
                found.append(int(entry.name))
        return found

    def _begin_worker(self) -> subprocess.Popen[bytes]:
        name = f"worker-{len(self.workers)}"
        worker = self._begin(
            name,
            (_WORKER, "--host", _HOST, "--webui-port", "0", *self._size),
            ("--work-dir", str(self.folder / name), self.master_url),
        )
        self.workers.append(worker)
        return worker

    def _begin(
        self, name: str, words: tuple[str, ...], more: tuple[str, ...], java: str = ""
    ) -> subprocess.Popen[bytes]:
        variables = {
            key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")
        }
        variables |= {
            "SPARK_HOME": str(self.home),
            "SPARK_LOCAL_IP": _HOST,
            "SPARK_DAEMON_MEMORY": "512m",
            "SPARK_DAEMON_JAVA_OPTS": f"{_QUICK} {java}",
            "PATH": f"{SPARK_FOLDER / 'bin'}:{os.environ['PATH']}",
            **quick_java(),
        }
        variables.pop("SPARK_CONF_DIR", None)  # classes are taken from the file for one class path
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [str(self.home / "bin" / "spark-class"), *words, *more],
                env=variables,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _await(self, condition: Callable[[], bool], fault: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                logs = "".join(
                    path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.log")
                )
                raise RuntimeError(f"{fault}: {logs}")
            time.sleep(0.05)
