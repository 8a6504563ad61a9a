"""Whether anybody asks after a job: the mark of those who do, and the count without one."""

import contextlib
import os
import time
from typing import Callable, Optional, Tuple

_RENEWALS = 10  # in a lease, however often a job is asked after
_FROZEN_SECONDS = 10.0  # between two looks of a supervisor that was not kept from looking

_Mark = Optional[Tuple[int, int]]


def note_attendance(path: str, lease_seconds: float) -> None:
    """Leave the mark that somebody asks after the job, unless there is a fresh one."""
    found = _mark_of(path)
    age = None if found is None else time.time() - found[1] / 1e9
    if age is not None and 0 <= age < lease_seconds / _RENEWALS:
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.suppress(OSError):  # a script has put something else there, or its disk fails
        descriptor = os.open(path, flags, 0o600)
        try:
            os.utime(descriptor)
        finally:
            os.close(descriptor)


class Attendance:
    """Tells a supervisor, which looks again and again, that nobody has asked for a whole lease.

    Marks are compared with one another and never with a clock, and the time is the supervisor's
    own. Where it could not look for long, alone or with its whole machine, it cannot know who
    would have asked: then the lease begins anew, so that watchers have time to come back.
    """

    def __init__(
        self, path: str, lease_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._lease_seconds = lease_seconds
        self._frozen_seconds = min(_FROZEN_SECONDS, lease_seconds / 2)
        self._clock = clock
        self._mark = _mark_of(path)
        self._looked_at = self._renewed_at = clock()
        self._is_over = False

    def is_over(self) -> bool:
        """Whether the lease has run out; it stays so, whoever comes later."""
        now, mark = self._clock(), _mark_of(self._path)
        if mark != self._mark or now - self._looked_at > self._frozen_seconds:
            self._mark, self._renewed_at = mark, now
        self._looked_at = now
        self._is_over = self._is_over or now - self._renewed_at >= self._lease_seconds
        return self._is_over


def _mark_of(path: str) -> _Mark:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
