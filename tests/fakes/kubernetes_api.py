"""The API of a Kubernetes, as far as spark-submit asks it; pods are processes of this machine."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.fakes.cluster_programs import begun_driver

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from typing_extensions import Self

_HOST = "127.0.0.1"
_PROPERTIES = "/opt/spark/conf/spark.properties"
_PODS = "/api/v1/namespaces/training/pods"


class KubernetesApi:
    """Begins the container of a pod with `begin`, as an image's entry point does, and its words.

    Use it as a context manager.
    """

    def __init__(self, folder: Path, begin: tuple[str, ...]) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self._folder, self._begin = folder, begin
        self._javas: dict[str, subprocess.Popen[bytes]] = {}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(owner._read(self.path.rpartition("/")[2]))

            def do_POST(self) -> None:
                asked = self._body()
                assert self.path == _PODS
                self._answer(owner._create(asked))

            def do_PATCH(self) -> None:
                asked = self._body()
                if "/configmaps/" in self.path:
                    owner._run(asked["data"]["spark.properties"])
                self._answer(asked)

            def do_DELETE(self) -> None:
                self._body()
                self._answer(owner._delete(self.path.rpartition("/")[2]))

            def _body(self) -> dict[str, Any]:
                return dict(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, facts: dict[str, Any]) -> None:
                content = json.dumps(facts).encode()
                self.send_response(facts.get("code", 200))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((_HOST, 0), Handler)
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for name, java in self._javas.items():
            begun_driver.end(self._folder / name)
            java.wait()

    @property
    def running(self) -> list[str]:
        """The names of the pods whose driver runs."""
        return [name for name in self._javas if self._exit_code(name) is None]

    def _exit_code(self, name: str) -> int | None:
        return begun_driver.exit_code(self._folder / name)

    def _create(self, pod: dict[str, Any]) -> dict[str, Any]:
        name = pod["metadata"]["name"]
        if name in self.pods:
            return _fault(409, "AlreadyExists", f'pods "{name}" already exists')
        pod["metadata"].update(uid="1c9f", namespace="training", resourceVersion="1")
        self.pods[name] = pod
        return pod  # which is begun when its settings come

    def _run(self, properties: str) -> None:
        for name, pod in self.pods.items():
            if name not in self._javas:
                self._javas[name] = self._start(name, pod, properties)

    def _start(self, name: str, pod: dict[str, Any], properties: str) -> subprocess.Popen[bytes]:
        place = self._folder / name
        place.mkdir(parents=True)
        (place / "spark.properties").write_text(properties)
        (container,) = pod["spec"]["containers"]
        _, *words = container["args"]
        argv = [str(place / "spark.properties") if one == _PROPERTIES else one for one in words]
        variables = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        variables |= {"SPARK_LOCAL_DIRS": str(place), "SPARK_CONF_DIR": str(place)}
        return begun_driver.begin(place, [*self._begin, *argv], variables)

    def _read(self, name: str) -> dict[str, Any]:
        pod = self.pods.get(name)
        if pod is None:
            return _fault(404, "NotFound", f'pods "{name}" not found')
        status: dict[str, Any] = {"phase": "Pending"}
        if name in self._javas:
            code = self._exit_code(name)
            status["phase"] = "Running" if code is None else "Failed" if code else "Succeeded"
        return {**pod, "status": status}

    def _delete(self, name: str) -> dict[str, Any]:
        self.pods.pop(name, None)
        if name in self._javas:
            begun_driver.end(self._folder / name)
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}


def _fault(code: int, reason: str, message: str) -> dict[str, Any]:
    told = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return {**told, "reason": reason, "message": message, "code": code}
