"""A wait that gets no answer: how often it asks again, what it says, and when it is given up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Final

from airflow_mltrain.errors import (
    ConfigurationError,
    RunHistoryUnavailableError,
    StoreUnreachableError,
    TargetUnreachableError,
    UnreachableTimeoutError,
)

UNANSWERED: Final = (
    TargetUnreachableError,
    RunHistoryUnavailableError,
    StoreUnreachableError,
)
_LONGEST_PAUSE_SECONDS: Final = 30.0
_REMINDER_SECONDS: Final = 600.0


class Backoff:
    """The pauses between attempts: from 1 to 30 seconds, longer each time, no two alike."""

    def __init__(self) -> None:
        self._upper_seconds = 1.0

    def next_seconds(self) -> float:
        """How long to wait before the next attempt."""
        self._upper_seconds = min(2 * self._upper_seconds, _LONGEST_PAUSE_SECONDS)
        # Many who lost the same target at the same moment must not come back together.
        return random.uniform(self._upper_seconds / 2, self._upper_seconds)  # noqa: S311

    def reset(self) -> None:
        """Begin with short pauses again, as after a success."""
        self._upper_seconds = 1.0


class Silence:
    """The time since a run's target, or the run history, last answered one who waits.

    Args:
        run_id: the run that is waited for.
        limit_seconds: after how long without an answer the wait is given up; None for never.
        warn: takes a message and its arguments as `logging.Logger.warning` does; it is called
            for the first failure, then at most every ten minutes, and once after the end.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        run_id: str,
        limit_seconds: float | None,
        warn: Callable[..., object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run_id = run_id
        self._limit_seconds = limit_seconds
        self._warn = warn
        self._clock = clock
        self._backoff = Backoff()
        self._began: float | None = None
        self._next_warning = 0.0

    @property
    def is_on(self) -> bool:
        """Whether the last exchange failed."""
        return self._began is not None

    def note(self, error: Exception, target_name: str | None = None) -> float:
        """Take note of an exchange that failed; how many seconds to wait before the next.

        Raises UnreachableTimeoutError once the first failure since the last answer is as long ago
        as the limit says.
        """
        now = self._clock()
        if self._began is None:
            self._began = now
            self._next_warning = now + _REMINDER_SECONDS
            self._warn("run %s goes on unobserved for now: %s", self._run_id, error)
        lasted = now - self._began
        if self._limit_seconds is not None and lasted >= self._limit_seconds:
            raise UnreachableTimeoutError(self._describe(error, target_name, lasted)) from error
        if now >= self._next_warning:
            self._next_warning = now + _REMINDER_SECONDS
            self._warn("run %s: no answer for %s: %s", self._run_id, _spoken(lasted), error)
        pause = self._backoff.next_seconds()
        return pause if self._limit_seconds is None else min(pause, self._limit_seconds - lasted)

    def end(self) -> None:
        """Take note of an answer: the next failure is a first one again."""
        if self._began is not None:
            lasted = _spoken(self._clock() - self._began)
            self._warn("run %s is observed again, after %s", self._run_id, lasted)
            self._began = None
            self._backoff.reset()

    def _describe(self, error: Exception, target_name: str | None, lasted: float) -> str:
        since = datetime.now(timezone.utc) - timedelta(seconds=lasted)
        silent = "the run history"
        if isinstance(error, StoreUnreachableError):
            silent = "the artifact store"
        if isinstance(error, TargetUnreachableError):
            silent = "its compute target" if target_name is None else f"target {target_name!r}"
        return (
            f"the wait for run {self._run_id} is given up, the run is not: {silent} has not "
            f"answered since {since:%Y-%m-%d %H:%M:%S} UTC ({_spoken(lasted)}). The last error: "
            f"{error}. To pick the run up, wait for it with "
            f"TrainingRunSensor(run_id={self._run_id!r}), or in Python with Run.get(workspace, "
            f"{self._run_id!r}).wait_for_completion(). A retry of the task that submitted it "
            "adopts it; clearing that task would cancel it and start another"
        )


def check_unreachable_timeout(given: timedelta | float | None) -> float | None:
    """The argument `unreachable_timeout` in seconds; raises ConfigurationError for no duration."""
    if given is None:
        return None
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if 0 <= seconds < float("inf"):
        return float(seconds)
    raise ConfigurationError(
        f"unreachable_timeout = {given!r}: give a timedelta or seconds, not negative; 0 is for no "
        "limit, and None for what [mltrain] unreachable_timeout_seconds says"
    )


def _spoken(seconds: float) -> str:
    if seconds < 2 * 60:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
