"""Watching many jobs of this machine, again and again, for as little as that can cost."""

import os
import sys
import time
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple, TypeVar

from .attendance import note_attendance
from .burial import bury_if_dead, is_bereft
from .folder import TERMINAL, JobFolder
from .plain_file import read_from, size_of

_CHUNK_BYTES = 1024 * 1024
_EXCHANGE_BYTES = 8 * 1024 * 1024
_FIRST_LOOK_SECONDS, _LAST_LOOK_SECONDS = 0.005, 0.02
_LOOK_SHARE = 0.02  # of its time that an observer spends looking
_LIVENESS_SECONDS = 1.0

_Signature = Tuple[int, int, int, int]
_Found = TypeVar("_Found")


class _Sight(NamedTuple):
    """What one look at a job found."""

    state: Optional[Dict[str, Any]]
    log: int
    metrics: int


class _Watched:
    """A job, and its state as it was when the file that holds it last changed."""

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self._signature: Optional[_Signature] = None
        self._state: Optional[Dict[str, Any]] = None

    def look(self) -> _Sight:
        """The sizes of what grows, then the state, read anew only where its file is another.

        In this order no log is newer than the state that is told with it: what a script printed is
        not said of one that has yet to begin.
        """
        log, metrics = size_of(self.folder.log), size_of(self.folder.metrics)
        signature = _signature_of(self.folder.state)
        if signature != self._signature or signature is None:
            self._state = self.folder.read_state()
            self._signature = signature
        return _Sight(self._state, log, metrics)


class Observer:
    """Remembers from one question to the next what it need not look at again.

    One thread at a time may use it.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self.bereft: List[str] = []
        self._watched: Dict[str, _Watched] = {}
        self._next_liveness = 0.0
        self._next_attendance = 0.0

    def observe(
        self,
        seen: Dict[str, Dict[str, Any]],
        wait_seconds: float,
        is_abandoned: Callable[[], bool] = lambda: False,
        is_heard: Callable[[], bool] = lambda: True,
    ) -> Dict[str, Dict[str, Any]]:
        """The states of many jobs, with their log and metrics past the given positions.

        `seen` maps a run id to {"status", "log", "metrics", "environment_key"}: what the caller
        knows already. Returns as soon as one of them has news, at the latest after `wait_seconds`.
        A run id that was never started here is missing from the answer, as is one that cannot be
        looked at; OSError where that is so of all. At most a mebibyte of each log comes at once.
        Those that `is_bereft` names are news too, and are in `bereft` after. Jobs that must not be
        left alone are told that somebody asks, as long as `is_heard` says that the asker is there.
        """
        watched = self._watch(seen)
        self.bereft = []
        self._next_attendance = 0.0  # for who asks is there
        deadline = time.monotonic() + wait_seconds
        pause = _FIRST_LOOK_SECONDS
        while True:
            began = time.monotonic()
            self._bury_the_dead(began)
            sights = _each(watched, lambda run_id: watched[run_id].look())
            self._attend(began, sights, is_heard)
            has_news = bool(self.bereft) or any(
                _has_news(sight, seen[run_id]) for run_id, sight in sights.items()
            )
            now = time.monotonic()
            if has_news or now >= deadline or is_abandoned():
                return self._answer(sights, seen)
            least = (now - began) / _LOOK_SHARE
            time.sleep(min(max(pause, least), max(0.0, deadline - now)))
            pause = min(pause * 1.5, _LAST_LOOK_SECONDS)

    def _watch(self, seen: Dict[str, Dict[str, Any]]) -> Dict[str, _Watched]:
        self._watched = {
            run_id: self._watched.get(run_id) or _Watched(JobFolder(self._root, run_id))
            for run_id in seen
        }
        return self._watched

    def _bury_the_dead(self, now: float) -> None:
        if now < self._next_liveness:
            return
        self._next_liveness = now + _LIVENESS_SECONDS
        for one in self._watched.values():
            try:
                bury_if_dead(one.folder)
                if is_bereft(one.folder):
                    self.bereft.append(one.folder.run_id)
            except OSError as error:  # a full disk must not hide the other jobs
                words = "job {} is dead, not recorded yet: {}"
                print(words.format(one.folder.run_id, error), file=sys.stderr)

    def _attend(self, now: float, sights: Dict[str, _Sight], is_heard: Callable[[], bool]) -> None:
        if now < self._next_attendance or not is_heard():
            return
        self._next_attendance = now + _LIVENESS_SECONDS
        for run_id, sight in sights.items():
            state = sight.state or {}
            lease_seconds = state.get("lease_seconds")
            if lease_seconds is not None and state["status"] not in TERMINAL:
                note_attendance(self._watched[run_id].folder.attendance_mark, lease_seconds)

    def _answer(
        self, sights: Dict[str, _Sight], seen: Dict[str, Dict[str, Any]]
    ) -> Dict[str, Dict[str, Any]]:
        found = {run_id: sight for run_id, sight in sights.items() if sight.state is not None}
        # Those who need little come first, and what they leave is shared: nobody is crowded out.
        by_need = sorted(found, key=lambda run_id: _unread(found[run_id], seen[run_id]))
        budget, left = _EXCHANGE_BYTES, len(by_need)

        def tell(run_id: str) -> Dict[str, Any]:
            nonlocal budget, left
            folder, known, sight = self._watched[run_id].folder, seen[run_id], found[run_id]
            limit = min(_CHUNK_BYTES, budget // (2 * left))
            left -= 1
            log = _read_past(folder.log, known["log"], sight.log, limit)
            metrics = _read_past(folder.metrics, known["metrics"], sight.metrics, limit)
            budget -= len(log) + len(metrics)
            state = dict(sight.state or {}, log=log, metrics=metrics)
            if state.get("environment_key") != known["environment_key"]:
                state["environment"] = folder.read_environment(state.get("environment_digest"))
            return state

        return _each(by_need, tell)


def _each(run_ids: Iterable[str], look: Callable[[str], _Found]) -> Dict[str, _Found]:
    """What is found of each, without those that raise OSError; raises it where all of them do."""
    found, fault = {}, None
    for run_id in run_ids:
        try:
            found[run_id] = look(run_id)
        except OSError as error:  # a script may have seen to it, and must not hide the others
            fault = error
    if fault is not None and not found:
        raise fault
    return found


def _has_news(sight: _Sight, known: Dict[str, Any]) -> bool:
    if sight.state is None:
        return False
    status = sight.state["status"]
    return bool(
        status != known["status"]
        or status in TERMINAL
        or sight.log > known["log"]
        or sight.metrics > known["metrics"]
    )


def _unread(sight: _Sight, known: Dict[str, Any]) -> int:
    return sight.log - int(known["log"]) + sight.metrics - int(known["metrics"])


def _read_past(path: str, position: int, size: int, limit: int) -> bytes:
    return read_from(path, position, min(limit, size - position)) if size > position else b""


def _signature_of(path: str) -> Optional[_Signature]:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
