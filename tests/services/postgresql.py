"""A real PostgreSQL server that lives as long as the tests that ask for it."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.services.patience import PATIENCE_SECONDS
from tests.services.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator

_PASSWORD = "hunter2"  # noqa: S105 - it opens nothing: the server trusts whoever reaches its socket


class PostgresqlServer:
    """A server in a folder of its own, reached through a socket in that folder."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._log = (folder / "log").open("ab")
        self._server: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        if os.getuid() == 0:  # the server refuses to run as root
            shutil.chown(folder, "postgres", "postgres")
        initdb = self._run("initdb", "-U", "postgres", "-A", "trust", "--no-sync")
        if initdb.wait():
            raise RuntimeError(f"initdb failed: {self._said()}")

    def create_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"history_{next(self._numbers)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def start(self) -> None:
        """Bring the server up, also after it was killed, and wait until it answers."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {self._said()}")
            if self._server is None or self._server.poll() is not None:
                options = ("-k", str(self._folder), "-c", "listen_addresses=", "-c", "fsync=off")
                self._server = self._run("postgres", *options)
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server and its sessions in good order."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            self._server.wait()

    def kill(self) -> None:
        """End the server as a power cut would; its sessions break."""
        if self._server is not None:
            children = _children(self._server.pid)
            self._server.kill()
            self._server.wait()
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    def discard(self) -> None:
        """End the server and remove its folder."""
        self.stop()
        self._log.close()
        shutil.rmtree(self._folder)

    def _url(self, database: str) -> str:
        return f"postgresql://postgres:{_PASSWORD}@/{database}?host={self._folder}"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        is_root = os.getuid() == 0
        return subprocess.Popen(
            [self._programs / program, "-D", self._folder / "data", *options],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            user="postgres" if is_root else None,
            group="postgres" if is_root else None,
            extra_groups=[] if is_root else None,
        )

    def _said(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-2000:]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A server that runs; a test that takes it down brings it up again."""
    programs = find_programs()
    if programs is None:
        require("postgres", "there is no initdb in PATH nor in /usr/lib/postgresql/*/bin")
    server = PostgresqlServer(programs, Path(tempfile.mkdtemp(prefix="mltrain-postgresql-")))
    try:
        server.start()
        yield server
    finally:
        server.discard()


def find_programs() -> Path | None:
    """Where PostgreSQL is installed; None where it is not."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda program: float(program.parts[-3]),
    )
    if installed:
        return installed[-1].parent
    in_path = shutil.which("initdb")
    return Path(in_path).resolve().parent if in_path else None


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found
