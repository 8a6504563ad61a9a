"""Child runs that are processes: of the same job, on the same machine, watched by their parent."""

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from .context import JobContext
from .journal import say

_GRACE_SECONDS = 30.0
_LAST_GRACE_SECONDS = 3.0
_LOG_END_BYTES = 4000

Report = Callable[[str, str], None]  # status and reason, once

_living: Dict[str, "ChildProcess"] = {}  # by run id; of this process
_owner = 0


class ChildProcess:
    """The process of a child run, until its end is reported."""

    def __init__(self, process: "subprocess.Popen[bytes]", report: Report) -> None:
        self.process = process
        self._report = report
        self._is_canceled = False
        self._why_canceled = ""
        self._is_reported = threading.Event()

    def watch(self, run_id: str) -> None:
        """Report how the process ended; what it left running is stopped."""
        code = self.process.wait()
        self._signal(signal.SIGKILL)
        if self._is_canceled:
            self._tell("Canceled", self._why_canceled)
        elif code == 0:
            self._tell("Completed", "")
        else:
            what = "exit code {}".format(code) if code > 0 else "killed by signal {}".format(-code)
            self._tell("Failed", what)
        _living.pop(run_id, None)

    def cancel(self, grace_seconds: float = _GRACE_SECONDS) -> None:
        """Have it stopped; returns at once."""
        self._is_canceled = True
        self._signal(signal.SIGTERM)
        killer = threading.Timer(grace_seconds, self._signal, [signal.SIGKILL])
        killer.daemon = True
        killer.start()

    def abandon(self) -> None:
        """Stop it, as its parent ends."""
        self._is_canceled, self._why_canceled = True, "the script of its parent ended first"
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(_LAST_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
        self.wait(_LAST_GRACE_SECONDS)

    def wait(self, seconds: Optional[float] = None) -> bool:
        """Whether its end is reported."""
        return self._is_reported.wait(seconds)

    def _tell(self, status: str, reason: str) -> None:
        self._report(status, reason)
        self._is_reported.set()

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):
            return


def start(context: JobContext, run_id: str, config: Any, report: Report) -> None:
    """Start a child's process; its output is `logs/<run id>.txt`. ValueError where it cannot."""
    global _owner  # noqa: PLW0603  # children of a fork are not its own
    folder = os.path.join(context.code, config.source_directory)
    if not os.path.isdir(folder):
        raise ValueError("there is no source directory {!r}".format(folder))
    if config.script is not None and not os.path.isfile(os.path.join(folder, config.script)):
        raise ValueError("there is no script {!r} in {}".format(config.script, folder))
    log = os.path.join(context.code, "logs", run_id + ".txt")
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, "ab") as output:
        process = subprocess.Popen(
            config.argv(sys.executable),
            cwd=folder,
            env=context.child_variables(run_id),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a group of its own, to be stopped as a whole
        )
    if _owner != os.getpid():
        _living.clear()
        atexit.register(_abandon_all)
        _owner = os.getpid()
    child = _living[run_id] = ChildProcess(process, report)
    threading.Thread(target=child.watch, args=[run_id], daemon=True, name=run_id).start()


def find(run_id: str) -> Optional[ChildProcess]:
    """The child's process, if this one started it and it has not ended."""
    return _living.get(run_id) if _owner == os.getpid() else None


def wait_for(run_id: str, is_over: Callable[[], bool], shown_log: Optional[str]) -> None:
    """Return when a child has ended, whichever process runs it; meanwhile print a log."""
    position = 0
    while True:
        over = is_over()
        if shown_log is not None:
            position = _print_from(shown_log, position)
        if over:
            return
        child = find(run_id)
        if child is None:
            time.sleep(0.1)
        else:
            child.wait(0.5)


def end_of(log: str) -> str:
    """The last lines that a child printed."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.path.getsize(log) - _LOG_END_BYTES))
            return file.read().decode(errors="replace").rstrip()
    except OSError:
        return ""


def _print_from(log: str, position: int) -> int:
    try:
        with open(log, "rb") as file:
            file.seek(position)
            content = file.read()
    except OSError:
        return position
    sys.stdout.write(content.decode(errors="replace"))
    sys.stdout.flush()
    return position + len(content)


def _abandon_all() -> None:
    left: List[ChildProcess] = list(_living.values()) if _owner == os.getpid() else []
    if left:
        words = "{} child runs have not ended and are stopped with their parent's script: {}"
        say(words.format(len(left), "wait_for_completion() waits for them"))
    for child in left:
        child.abandon()
