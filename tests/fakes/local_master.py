"""A master's REST gateway that runs drivers here, each below a process in place of its Java."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mltrain.runtime.job_agent.cluster.entry import CALL_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

_HOST = "127.0.0.1"
_VERSION = "4.2.0"
_JAVA = '"$0" -c "$1" 2>stderr; exit $?'  # a shell that waits for its Python, as Java does
_SUBMIT = f'#!/bin/sh\nfor driver; do :; done\nexec {sys.executable} "$driver"\n'


class LocalMaster:
    """Puts drivers into `folder`; the word of a master that errs is `says`. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_deaf = False  # takes questions and gives no answer
        self.says: str | None = None  # the state of every driver, whatever it is in truth
        self.relay: Relay | None = None  # what drivers call through
        self._drivers: dict[str, subprocess.Popen[bytes]] = {}
        self._killed: set[str] = set()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({"success": True, **owner._status(self.path.rpartition("/")[2])})

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if owner.is_deaf:
                    self._answer({})
                elif self.path.endswith("/create"):
                    self._answer({"success": True, "submissionId": owner._create(asked)})
                else:
                    owner.kill(self.path.rpartition("/")[2])
                    self._answer({"success": True})

            def _answer(self, facts: dict[str, Any]) -> None:
                if owner.is_deaf:
                    self.close_connection = True
                    return
                body = json.dumps({"serverSparkVersion": _VERSION, **facts}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((_HOST, 0), Handler)

    def __enter__(self) -> Self:
        for program, text in (
            ("spark/bin/spark-submit", _SUBMIT),
            ("java/bin/java", "#!/bin/sh\n"),
        ):
            path = self.folder / program
            path.parent.mkdir(parents=True)
            path.write_text(text)
            path.chmod(0o755)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for driver, process in self._drivers.items():
            self.kill(driver)
            process.wait()

    def connection(self, **mltrain: Any) -> dict[str, Any]:
        """An Airflow connection that puts drivers here."""
        gateway = f"http://{_HOST}:{self._server.server_port}"
        told = {"master_gateway": gateway, "callback_host": _HOST, **mltrain}
        extra = {"deploy-mode": "cluster", "mltrain": told}
        return {"conn_type": "spark", "host": f"spark://{_HOST}", "port": 7077, "extra": extra}

    @property
    def roots(self) -> list[Path]:
        """What keepers have in the folders of their drivers."""
        return sorted(self.folder.glob("driver-*/mltrain"))

    @property
    def keepers(self) -> list[int]:
        """The Python of every driver."""
        shells = [process.pid for process in self._drivers.values()]
        found = [Path(f"/proc/{one}/task/{one}/children").read_text().split() for one in shells]
        return [int(pid) for pids in found for pid in pids]

    def kill(self, driver: str) -> None:
        """End the process that stands for a driver's Java, as a worker does when told to."""
        process = self._drivers.get(driver)
        if process is not None and process.poll() is None:
            self._killed.add(driver)
            process.send_signal(signal.SIGKILL)

    def kill_all(self) -> None:
        """The same for every driver."""
        for driver in self._drivers:
            self.kill(driver)

    def _create(self, asked: dict[str, Any]) -> str:
        driver = f"driver-{len(self._drivers)}"
        place = self.folder / driver
        place.mkdir()
        told = asked["environmentVariables"]
        if self.relay is not None:
            self.relay.target = told[CALL_VARIABLE]
            told = {**told, CALL_VARIABLE: self.relay.address}
        variables = {
            "PATH": os.environ["PATH"],
            "SPARK_HOME": str(self.folder / "spark"),
            "JAVA_HOME": str(self.folder / "java"),
            **told,
        }
        argv = ["sh", "-c", _JAVA, told["PYSPARK_DRIVER_PYTHON"], asked["appArgs"][2]]
        self._drivers[driver] = subprocess.Popen(argv, cwd=place, env=variables)
        return driver

    def _status(self, driver: str) -> dict[str, Any]:
        process = self._drivers.get(driver)
        if process is None:
            return {"success": False}
        code = process.poll()
        state = "RUNNING" if code is None else "FAILED" if code else "FINISHED"
        if driver in self._killed:
            state = "KILLED"
        return {"driverState": self.says or state, "workerHostPort": f"{_HOST}:1"}


class Relay:
    """A network between drivers and who submitted them, which fails as told. A context manager."""

    def __init__(self) -> None:
        self.target = ""
        self.is_stalled = False  # takes what comes and hands nothing on, as a cut cable
        self.loses_answer_to: bytes | None = None  # breaks after a question with this in it
        self._open: list[socket.socket] = []
        self._server = socket.create_server((_HOST, 0))
        self.address = f"{_HOST}:{self._server.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._serve, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)  # wakes who waits for a call, as closing does not
        self._threads[0].join()
        self._server.close()
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in self._open:
            end.close()

    def cut(self) -> None:
        """End every connection there is."""
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        while True:
            try:
                driver, _ = self._server.accept()
            except OSError:
                return
            if self.is_stalled:
                driver.close()
                continue
            host, _, port = self.target.rpartition(":")
            try:
                submitter = socket.create_connection((host, int(port)))
            except OSError:
                driver.close()
                continue
            ends = (driver, submitter)
            self._open += ends
            for source, sink, look in ((*ends, self._keep), (*reversed(ends), self._look)):
                pump = threading.Thread(target=_pump, args=(source, sink, look), daemon=True)
                self._threads.append(pump)
                pump.start()

    def _keep(self, _content: bytes) -> tuple[bool, bool]:
        return not self.is_stalled, False

    def _look(self, content: bytes) -> tuple[bool, bool]:
        lost = self.loses_answer_to
        return not self.is_stalled, lost is not None and lost in content


def _pump(
    source: socket.socket, sink: socket.socket, look: Callable[[bytes], tuple[bool, bool]]
) -> None:
    """Hand on while `look` says so, and end the source once it says that too."""
    with suppress(OSError):
        while content := source.recv(65536):
            is_passing, is_last = look(content)
            if is_last:
                source.shutdown(socket.SHUT_RDWR)
                source.close()
            if is_passing:
                sink.sendall(content)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
