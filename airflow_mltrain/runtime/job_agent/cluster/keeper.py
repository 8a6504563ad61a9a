"""The keeper of a driver that a master has put on a worker: it ends with whoever it works for.

Its parent is a Java virtual machine, which the master ends to end the driver. It has two kinds of
children: the supervisor of the job, and one that answers the questions of who submitted it.
"""

import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from typing import List, NamedTuple, Optional

from .. import process
from ..burial import bury_if_dead
from ..folder import JobFolder
from ..host import Host
from ..plain_file import read_from, size_of
from ..removal import remove
from ..server import Server
from ..spark.driver import JAVA_VARIABLE, PACKAGES_VARIABLE
from ..supervisor import Supervisor
from ..wire import FrameReader, FrameWriter
from .entry import INSIDE_VARIABLE, TurnedAwayError, call

_LOOK_SECONDS, _CALL_SECONDS = 0.05, 1.0
_REFUSALS = 3  # in a row: nobody listens there any more
_JOB_SECONDS = 900.0  # alone, and still without the job
_GATEWAY = ("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET")
_DRIVER_PYTHON, _PYTHON_PATH = "PYSPARK_DRIVER_PYTHON", "PYTHONPATH"


class Submitter(NamedTuple):
    """Whom to call, with which secret, and as which driver."""

    address: str
    token: str
    driver: str


def keep(root: str, connection: socket.socket, submitter: Submitter, alone_seconds: float) -> None:
    """Run the job that comes over the connection, to its end and until it was taken away.

    After so many seconds without who submitted it, all is ended.
    """
    _set_variables(is_inside=bool(os.environ.pop(INSIDE_VARIABLE, None)))
    try:
        _Keeper(root, submitter, alone_seconds).run(connection)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _set_variables(*, is_inside: bool) -> None:
    """Have what jobs begin with: a Java of their own, or that which is above this process."""
    os.environ.pop(_DRIVER_PYTHON, None)
    packages = os.environ.pop(_PYTHON_PATH, None)
    if is_inside:
        os.environ[JAVA_VARIABLE] = str(os.getppid())
        if packages is not None:
            os.environ[PACKAGES_VARIABLE] = packages
        return
    for name in _GATEWAY:
        os.environ.pop(name, None)
    if "JAVA_HOME" not in os.environ:
        with contextlib.suppress(OSError):
            java = os.readlink("/proc/{}/exe".format(os.getppid()))
            os.environ["JAVA_HOME"] = os.path.dirname(os.path.dirname(java))


class _Keeper:
    def __init__(self, root: str, submitter: Submitter, alone_seconds: float) -> None:
        self._root = root
        self._alone_seconds = alone_seconds
        self._submitter = submitter
        self._master = os.getppid()
        self._folder: Optional[JobFolder] = None
        self._supervisor: Optional[int] = None
        self._answerer: Optional[int] = None
        self._is_stopping = False
        self._heard_at = time.monotonic()
        self._refusals, self._next_call = 0, 0.0
        signal.signal(signal.SIGTERM, self._note_stop)

    def run(self, connection: socket.socket) -> None:
        self._answer(connection)
        while True:
            self._reap()
            self._look_for_job()
            if self._is_orphaned():
                self._stop()
            if self._is_over():
                return
            may_call = self._answerer is None and not self._is_stopping
            if may_call and time.monotonic() >= self._next_call:
                self._call()
            time.sleep(_LOOK_SECONDS)

    def _note_stop(self, _number: int, _frame: object) -> None:
        self._is_stopping = True

    def _is_orphaned(self) -> bool:
        if self._is_stopping or os.getppid() != self._master:
            return True
        alone = 0.0 if self._answerer is not None else time.monotonic() - self._heard_at
        longest = self._alone_seconds
        if self._folder is None:
            longest = min(longest, _JOB_SECONDS)
        return alone > longest or self._refusals >= _REFUSALS

    def _is_over(self) -> bool:
        """Whether there is nothing to keep: all is ended, and was taken away or is not wanted."""
        if self._supervisor is not None:
            return False
        if self._folder is None:
            return self._is_stopping
        if not bury_if_dead(self._folder):
            return False
        return self._is_stopping or not os.path.exists(self._folder.path)

    def _stop(self) -> None:
        if self._answerer is not None:  # what becomes of the job now is no end of its own
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._answerer, signal.SIGKILL)
        self._is_stopping = True
        if self._supervisor is not None and self._folder is not None:
            with contextlib.suppress(OSError, ProcessLookupError):
                self._folder.mark_canceled()
                os.kill(self._supervisor, signal.SIGUSR1)

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._supervisor:
                self._supervisor = None
            elif pid == self._answerer:
                self._answerer, self._heard_at = None, time.monotonic()

    def _look_for_job(self) -> None:
        if self._folder is not None or self._is_stopping:
            return
        for run_id in _listed(os.path.join(self._root, "runs")):
            folder = JobFolder(self._root, run_id)
            if os.path.exists(folder.spec):
                self._folder = folder
                self._supervisor = self._fork_supervisor(folder)

    def _fork_supervisor(self, folder: JobFolder) -> int:
        keeper, pid = os.getpid(), os.fork()
        if pid:
            return pid
        try:
            # Told and not killed: then it ends what it has begun, which is more than a process.
            process.die_with(keeper, signal.SIGTERM)
            process.adopt_orphans()
            os.setsid()
            _divert_output(folder.supervisor_log)
            secrets = read_from(folder.secrets, 0, size_of(folder.secrets))
            folder.remove_secrets()
            supervisor = Supervisor(folder, secrets)
            if supervisor.claim():
                supervisor.run()
            if os.getppid() != keeper:  # which would have removed it
                remove(self._root)
        finally:
            os._exit(0)

    def _call(self) -> None:
        self._next_call = time.monotonic() + _CALL_SECONDS
        try:
            connection, _ = call(*self._submitter, needs_agent=False)
        except (ConnectionRefusedError, TurnedAwayError) as error:
            self._refusals += 1
            print("mltrain:", error, file=sys.stderr)
            return
        except (OSError, ValueError, KeyError) as error:
            self._refusals = 0
            print("mltrain:", error, file=sys.stderr)
            return
        self._refusals = 0
        self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        """Have a child answer what comes over the connection, until that ends."""
        keeper, self._answerer = os.getpid(), os.fork()
        if self._answerer:
            connection.close()
            return
        try:
            process.die_with(keeper)
            reader = FrameReader(connection.recv)
            Server(Host(self._root), reader, FrameWriter(connection.sendall)).run()
        finally:
            os._exit(0)


def _listed(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _divert_output(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for output in (1, 2):
        os.dup2(descriptor, output)
