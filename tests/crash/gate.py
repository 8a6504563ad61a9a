"""Where a process of ours can be struck: before and after each write that leaves it.

The steps are found by watching, with the interpreter's own profile hook: calls of the kernel that
write, and statements and commits that go to the run history. The product knows nothing of it.
"""

from __future__ import annotations

import io
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

_KERNEL = frozenset(
    {
        *("write", "pwrite", "sendfile", "copy_file_range", "ftruncate", "truncate"),
        *("rename", "replace", "link", "symlink", "mkdir", "unlink", "remove", "rmdir"),
        *("fork", "posix_spawn", "kill", "killpg"),
    }
)
_SOCKET = frozenset({"send", "sendall", "sendto", "sendmsg", "connect"})
_FILE = frozenset({"write", "writelines", "flush"})
_DATABASE = ("do_execute", "do_executemany", "do_commit")
_OURS = ("airflow_mltrain.", "job_agent.")
_NOT_OF_THE_PLOT = (
    frozenset(  # lines of the task log, which Airflow keeps, and Python's own caches
        {"logging", "structlog._output", "importlib._bootstrap_external"}
    )
)
_PLOT = tuple(
    f"airflow_mltrain.{name}"
    for name in (
        *("submission", "preparation", "progress", "following"),
        *("operators.submit_training_run", "triggers.training_run", "triggers.watcher"),
    )
)


@dataclass(frozen=True, order=True)
class Step:
    """One moment in a process: the n-th time that it is before, or after, this write."""

    name: str  # the part of the plot, what it calls on, and the write
    number: int
    is_after: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.is_after else 'before'} {self.name} [{self.number}]"


class Gate:
    """Passes every step of this process by `visit`, in the thread that takes it."""

    def __init__(self, visit: Callable[[Step], None]) -> None:
        self._visit = visit
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._statements = _statement_codes()

    def open(self) -> None:
        """Watch this thread, and those that begin from here on."""
        threading.setprofile(self._look)
        sys.setprofile(self._look)

    def close(self) -> None:
        """Watch no more."""
        sys.setprofile(None)
        threading.setprofile(None)

    def _look(self, frame: FrameType, event: str, arg: Any) -> None:
        if event in ("call", "return"):
            call = self._statements.get(id(frame.f_code))
        else:
            call = arg.__name__ if _leaves(arg) else None
        if call is None:
            return
        name = _describe(frame, call)
        if name is None:
            return
        is_after = event not in ("call", "c_call")
        with self._lock:
            self._counts[name] += not is_after
            number = self._counts[name]
        self._visit(Step(name, number, is_after))


class Roll:
    """Takes down the steps that are visited."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def __call__(self, step: Step) -> None:
        self.steps.append(step)

    def distinct(self, repetitions: int) -> list[Step]:
        """Each step before and after, of those with one name the first few, in their order."""
        befores = dict.fromkeys(
            replace(step, is_after=False) for step in self.steps if step.number <= repetitions
        )
        return [replace(step, is_after=after) for step in befores for after in (False, True)]


def _leaves(function: Any) -> bool:
    """Whether a built-in function has an effect outside of its process."""
    name, owner = getattr(function, "__name__", None), getattr(function, "__self__", None)
    if name == "fork_exec":
        return True
    if name in _KERNEL and getattr(owner, "__name__", None) == "posix":
        return True
    if name in _SOCKET and isinstance(owner, socket.socket):
        return True
    return (
        name in _FILE
        and isinstance(owner, io.IOBase)
        and not isinstance(owner, (io.BytesIO, io.StringIO))
    )


def _statement_codes() -> dict[int, str]:
    from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg  # noqa: PLC0415 - dear

    return {id(getattr(PGDialect_psycopg, name).__code__): name for name in _DATABASE}


def _describe(frame: FrameType, call: str) -> str | None:
    """The name of a step; None where none of our code is on the way, as in a logger's thread."""
    plot = inner = None
    at: FrameType | None = frame
    while at is not None and plot is None:
        module = str(at.f_globals.get("__name__", ""))
        place = f"{module.rpartition('.')[2]}.{at.f_code.co_name}"
        if module in _NOT_OF_THE_PLOT:
            return None
        if module.startswith(_PLOT):
            plot = place
        elif inner is None and module.startswith(_OURS) and not module.endswith("runs.database"):
            inner = place
        elif inner is None and module.startswith("paramiko.transport"):
            inner = "paramiko"
        at = at.f_back
    if plot is None and inner is None:
        return None
    return " > ".join(part for part in (plot, inner, call) if part is not None)
