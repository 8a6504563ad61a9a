"""How a job agent is begun on a machine where there may be none yet."""

from __future__ import annotations

import json
import os
import shlex
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, NamedTuple

from airflow_mltrain import runtime
from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.targets.agent_session import AgentSession, Stream, as_hello

_RUNTIME = Path(runtime.__file__).parent
_BOOT_SECONDS = 30.0
_PYTHONS: Final = ("python3", *(f"python3.{minor}" for minor in range(14, 7, -1)))
_NOISE_BYTES = 2000
_NONSENSE = (ValueError, KeyError, TypeError, RecursionError)
_KEPT_BYTES = 1024 * 1024  # of what a login prints, and of an answer that is not whole
# No word of it means anything else to sh, bash, zsh, fish or csh.
_FIND_PYTHON = (
    'for p in "$@"; do case $p in "~/"*) p=$HOME/${p#"~/"};; esac; '
    'if command -v "$p" >/dev/null; then exec "$p" -I -S -X utf8 {options}-c "$0"; '
    "fi; done; echo no-python-found; exit 127"
)
_READ_PROGRAM = "import sys; exec(sys.stdin.buffer.readline())"
NO_PYTHON: Final = "no-python-found"


class _JobAgent(NamedTuple):
    """The files of the job agent as they travel, and their name by content.

    A line of JSON has their sizes by path, and then come the files themselves.
    """

    content: bytes
    digest: str


class NoEntryError(TargetUnreachableError):
    """The machine was reached, and the job agent could not begin there."""


class NoPythonError(NoEntryError):
    """There is no Python there that the job agent could begin with."""


def enter(
    open_stream: Callable[[str], Stream],
    root: str,
    python: str | None,
    machine: str,
    bytecode_folder: str | None = None,
) -> AgentSession:
    """Begin a job agent and a session with it.

    `open_stream` runs a command line, through whatever shell the machine's login has. `machine`
    is its name for messages. Raises NoEntryError saying what to mend, and what `open_stream` does.
    """
    candidates = python_candidates(python)
    old_python = ""
    while True:
        stream = open_stream(command_line(candidates, bytecode_folder))
        entry = _Entry(stream, machine, old_python)
        try:
            session = entry.begin(root)
        except BaseException:
            stream.close()
            raise
        if session is not None:
            return session
        stream.close()
        old_python = entry.old_python
        candidates = candidates[1:]
        if not candidates:
            raise _too_old(machine, old_python)


def python_candidates(python: str | None) -> list[str]:
    """The Pythons to look for, best first: the one that was named, or the usual ones."""
    return list((python,) if python else _PYTHONS)


def python_command(
    candidates: Sequence[str], program: str = _READ_PROGRAM, bytecode_folder: str | None = None
) -> list[str]:
    """What has the first of these Pythons that is there run a program, read from its input.

    Images often come without bytecode: it is kept in the folder, if one is given. Where there is
    no Python it prints NO_PYTHON and exits with 127.
    """
    options = f"-X pycache_prefix={bytecode_folder} " if bytecode_folder else ""
    return ["/bin/sh", "-c", _FIND_PYTHON.replace("{options}", options), program, *candidates]


def command_line(candidates: Sequence[str], bytecode_folder: str | None = None) -> str:
    """The same for the shell of a login."""
    words = ("exec", *python_command(candidates, bytecode_folder=bytecode_folder))
    return " ".join(map(shlex.quote, words))


class _Entry:
    """The talk with `runtime/boot.py`, line by line, before there are frames."""

    def __init__(self, stream: Stream, machine: str, old_python: str) -> None:
        self.old_python = old_python  # as found so far
        self._stream = stream
        self._machine = machine
        self._deadline = time.monotonic() + _BOOT_SECONDS
        self._token = token_hex(16)
        self._received = b""

    def begin(self, root: str) -> AgentSession | None:
        """The session; None where the Python is too old."""
        agent = job_agent()
        source = (_RUNTIME / "boot.py").read_text()
        wanted = {"root": root, "digest": agent.digest, "token": self._token}
        self._send(f"exec({source!r})\n{json.dumps(wanted)}\n".encode())
        facts = self._answer()
        if "needs" in facts:
            packed = zlib.compress(agent.content)
            self._send(b"%d\n%b" % (len(packed), packed))
            facts = self._answer()
        if "old" in facts:
            self.old_python = f"Python {facts['old']} ({facts['python']})"
            return None
        if "fault" in facts:
            raise NoEntryError(
                f"{self._machine}: the root folder {facts['root']} cannot be used: "
                f"{facts['fault']}; mend that, or name another folder as `root` in the compute "
                "target's settings"
            )
        try:  # it looked at its clock after all that takes long
            hello = as_hello(facts, float(facts["time"]) - time.time())
        except _NONSENSE as error:
            raise self._no_agent(error) from error
        return AgentSession(self._stream, hello, self._received)

    def _send(self, content: bytes) -> None:
        with suppress(OSError, EOFError):  # what the machine said before it hung up says why
            self._stream.send(content)

    def _answer(self) -> dict[str, Any]:
        """The next line that begins with the token; the rest is what the login printed."""
        mark = f"\n{self._token} ".encode()
        while True:
            _, found, rest = self._received.partition(mark)
            line, end, behind = rest.partition(b"\n")
            if found and end:
                self._received = behind
                try:
                    return dict(json.loads(line))
                except _NONSENSE as error:
                    raise self._no_agent(error) from error
            try:
                received = self._stream.receive(65536)
            except TimeoutError:
                received = None
            except (OSError, EOFError):
                received = b""
            if received == b"":
                raise self._no_entry()
            if time.monotonic() > self._deadline:
                raise NoEntryError(
                    f"{self._machine}: the job agent did not begin within {_BOOT_SECONDS:.0f} "
                    f"seconds; does the login shell wait for something?{self._said()}"
                )
            self._received = self._received[-_KEPT_BYTES:] + (received or b"")

    def _no_agent(self, error: Exception) -> NoEntryError:
        return NoEntryError(
            f"{self._machine}: what answered there is no job agent of this package: {error!r:.200}"
        )

    def _no_entry(self) -> NoEntryError:
        if NO_PYTHON.encode() in self._received and self.old_python:
            return _too_old(self._machine, self.old_python)
        if NO_PYTHON.encode() in self._received:
            return NoPythonError(
                f"{self._machine}: no Python was found there; install Python 3.8 or newer "
                "(apt-get install python3), or name one as `python` in the compute target's "
                "settings"
            )
        return NoEntryError(
            f"{self._machine}: the login ended before the job agent began; it needs a login that "
            f"runs commands, and Python 3.8 or newer{self._said()}"
        )

    def _said(self) -> str:
        text = self._received[-_NOISE_BYTES:].decode(errors="replace").strip()
        return f". The machine said:\n{text}" if text else ""


def _too_old(machine: str, python: str) -> NoPythonError:
    return NoPythonError(
        f"{machine}: {python} there is too old; install Python 3.8 or newer, or name one as "
        "`python` in the compute target's settings"
    )


@cache
def job_agent() -> _JobAgent:
    """The job agent of this package, whose name changes with any of its files."""
    files = sorted(_read_runtime())
    sizes = json.dumps({path: len(content) for path, content in files})
    content = b"\n".join([sizes.encode(), b"".join(content for _, content in files)])
    return _JobAgent(content, sha256(content).hexdigest()[:32])


def _read_runtime() -> Iterator[tuple[str, bytes]]:
    # A task waits for it, and for paths that are objects it would wait three times as long.
    top = str(_RUNTIME)
    for folder, _, names in os.walk(top):
        for path in (f"{folder}/{name}" for name in names if name.endswith(".py")):
            with open(path, "rb") as file:  # noqa: PTH123
                yield path[len(top) + 1 :], file.read()
