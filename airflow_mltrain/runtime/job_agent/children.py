"""The processes that a supervisor started or adopted, and the signals that tell it of them."""

import contextlib
import os
import select
import signal
from typing import Dict, Optional, Set


class Children:
    """Takes over this process's signals: it sleeps until one arrives, and reaps who has ended."""

    def __init__(self) -> None:
        self.is_terminated = False
        self._watched: Set[int] = set()
        self._wait_statuses: Dict[int, int] = {}
        self._wakeup, wakeup_end = os.pipe()
        for descriptor in (self._wakeup, wakeup_end):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
        for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
            if signal.getsignal(number) == signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)  # what the starter ignored, scripts would
        # Handlers and not SIG_IGN, which the script would inherit.
        for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, self._remember_termination)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def watch(self, pid: int) -> None:
        """Keep the wait status of this child; said before it is reaped."""
        self._watched.add(pid)

    def wait_status(self, pid: int) -> Optional[int]:
        """How a watched child ended, as `waitpid` says it; None while it lives."""
        return self._wait_statuses.get(pid)

    def reap(self) -> bool:
        """Take note of ended children; whether any child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid in self._watched:
                self._watched.remove(pid)  # the number may come again
                self._wait_statuses[pid] = status

    def sleep(self, seconds: float) -> None:
        """Sleep, until a signal arrives."""
        if select.select([self._wakeup], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup, 4096)

    def _remember_termination(self, _signal_number: int, _frame: object) -> None:
        self.is_terminated = True


def release_signals() -> None:
    """Have signals do what they do by default, in a forked child of a process with `Children`."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
