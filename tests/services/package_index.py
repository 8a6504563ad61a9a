"""A real package index on the loopback interface, and the tiny packages that it offers."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

_THE_SAME_MOMENT = (2024, 1, 1, 0, 0, 0)  # equal content makes equal files
_PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
_BACKEND = """\
import pathlib, shutil

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    {words}
    wheel = next(pathlib.Path(__file__).parent.glob("*.whl"))
    shutil.copy(str(wheel), wheel_directory)
    return wheel.name
"""


@dataclass(frozen=True)
class Package:
    """What a package says about itself, and the one module in it, which has the package's name."""

    name: str
    version: str
    requires: Sequence[str] = ()
    requires_python: str | None = None
    extras: Mapping[str, Sequence[str]] = field(default_factory=dict)
    module: str = ""
    console_scripts: Mapping[str, str] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """How the names of its files begin."""
        return f"{_normalize(self.name).replace('-', '_')}-{self.version}"


class Request(NamedTuple):
    """One question that the index was asked, and its answer's number."""

    path: str
    authorization: str | None
    status: int


class PackageIndex:
    """Offers the packages below `folder` at `url` until it is stopped, and notes who asked what.

    With `credentials`, a login and a password, it answers only those who give them. Adding a
    version again replaces its file.
    """

    def __init__(self, folder: Path, credentials: tuple[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.requests: list[Request] = []
        self._anchors: dict[str, dict[str, str]] = {}
        self._authorization = None if credentials is None else _basic(*credentials)
        self._answering = threading.Event()
        self._answering.set()
        self._is_stopped = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """What goes into an environment's `index.url`; without credentials."""
        return f"http://127.0.0.1:{self.port}/index/"

    @property
    def url_with_credentials(self) -> str:
        """What a machine's owner may have written into a configuration file."""
        if self._authorization is None:
            return self.url
        encoded = self._authorization.partition(" ")[2]
        return self.url.replace("http://", f"http://{base64.b64decode(encoded).decode()}@")

    def add(
        self,
        name: str,
        version: str,
        *,
        requires: Sequence[str] = (),
        requires_python: str | None = None,
        extras: Mapping[str, Sequence[str]] | None = None,
        module: str = "",
    ) -> str:
        """Offer a wheel of this package; its sha256."""
        package = Package(name, version, requires, requires_python, extras or {}, module)
        return self.offer(package)

    def offer(self, package: Package) -> str:
        """Offer a wheel of a package that `add` cannot describe; its sha256."""
        path = write_wheel(self.folder, package)
        return self._link(package, path)

    def add_sdist(self, name: str, version: str, *, build_fails_with: str | None = None) -> str:
        """Offer only the source of a package, which builds unless it is given last words."""
        package = Package(name, version)
        path = _write_sdist(self.folder, package, build_fails_with)
        return self._link(package, path)

    def hang(self) -> None:
        """From now on take connections and never answer; `stop` lets go of them."""
        self._answering.clear()

    def stop(self) -> None:
        """Refuse connections from now on; may be repeated."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._answering.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _link(self, package: Package, path: Path) -> str:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        python = package.requires_python
        mark = "" if python is None else f' data-requires-python="{escape(python)}"'
        anchor = f'<a href="/files/{path.name}#sha256={digest}"{mark}>{path.name}</a><br>'
        self._anchors.setdefault(_normalize(package.name), {})[path.name] = anchor
        return digest

    def _answer(self, path: str, authorization: str | None) -> tuple[int, str, bytes]:
        if self._authorization is not None and authorization != self._authorization:
            return 401, "text/plain", b"who are you?"
        kind, _, name = path.strip("/").partition("/")
        if kind == "index" and name in self._anchors:
            anchors = "\n".join(self._anchors[name].values())
            return 200, "text/html", f"<!DOCTYPE html><html><body>{anchors}</body></html>".encode()
        if kind == "files" and (self.folder / name).is_file():
            return 200, "application/octet-stream", (self.folder / name).read_bytes()
        return 404, "text/plain", b"there is no such thing"

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the library's name
                index._answering.wait()  # a part of the index
                if index._is_stopped:
                    return
                authorization = self.headers.get("Authorization")
                status, kind, body = index._answer(self.path, authorization)
                index.requests.append(Request(self.path, authorization, status))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-cache")  # tests meet on the same port
                if status == 401:
                    self.send_header("WWW-Authenticate", 'Basic realm="packages"')
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815  # the library's name

            def log_message(self, *_: object) -> None:
                """Say nothing: `requests` has it."""

        return Handler


@contextmanager
def package_index(
    folder: Path, credentials: tuple[str, str] | None = None
) -> Iterator[PackageIndex]:
    """An index that keeps its files in `folder` and is stopped at the end of the block."""
    index = PackageIndex(folder, credentials)
    try:
        yield index
    finally:
        index.stop()


def write_wheel(folder: Path, package: Package) -> Path:
    """Make a wheel in `folder`; equal packages make equal bytes."""
    path = folder / f"{package.stem}-py3-none-any.whl"
    information = f"{package.stem}.dist-info"
    module = f"{_normalize(package.name).replace('-', '_')}.py"
    files = {
        module: f'__version__ = "{package.version}"\n{package.module}',
        f"{information}/METADATA": _metadata(package),
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if package.console_scripts:
        lines = [f"{name} = {target}" for name, target in package.console_scripts.items()]
        files[f"{information}/entry_points.txt"] = "\n".join(["[console_scripts]", *lines, ""])
    record = [_record_line(name, text.encode()) for name, text in files.items()]
    files[f"{information}/RECORD"] = "\n".join([*record, f"{information}/RECORD,,", ""])
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, _THE_SAME_MOMENT), text)
    return path


def _write_sdist(folder: Path, package: Package, last_words: str | None) -> Path:
    path = folder / f"{package.stem}.tar.gz"
    wheel = write_wheel(folder, package)
    words = "pass" if last_words is None else f"raise SystemExit({last_words!r})"
    files = {
        "PKG-INFO": _metadata(package).encode(),
        "pyproject.toml": _PROJECT.encode(),
        "backend.py": _BACKEND.format(words=words).encode(),
        wheel.name: wheel.read_bytes(),
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{package.stem}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    wheel.unlink()
    return path


def _metadata(package: Package) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {package.name}", f"Version: {package.version}"]
    if package.requires_python is not None:
        lines.append(f"Requires-Python: {package.requires_python}")
    lines += [f"Requires-Dist: {requirement}" for requirement in package.requires]
    for extra, requirements in package.extras.items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {each}; extra == "{extra}"' for each in requirements]
    return "\n".join([*lines, "", ""])


def _record_line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}"


def _normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _basic(login: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()
