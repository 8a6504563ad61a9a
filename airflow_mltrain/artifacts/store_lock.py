"""Who is about to refer to what is in a store, and who clears it: a lock made of objects.

A file lock does not reach other machines. Whoever uses the store leaves a mark and then looks for
a collector; a collector says that it is one and then looks for marks. One of them sees the other.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from airflow_mltrain.errors import ArtifactError

if TYPE_CHECKING:
    from airflow_mltrain.artifacts.objects import Objects

_COLLECTION: Final = "lock/collection.json"
_USERS: Final = "lock/using"
_USER_SECONDS: Final = 3600.0  # after which a mark that nobody renewed is a killed process's
_COLLECTOR_SECONDS: Final = 90.0
_LOOK_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 180.0


@dataclass(frozen=True)
class _Collection:
    """The last collection, or the one under way."""

    epoch: str = ""
    is_running: bool = False


class StoreLock:
    """The lock of one store, for any number of processes on any number of machines."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._own = ""  # the collection that this process is at
        self._renewed_at = 0.0

    @contextmanager
    def used(self) -> Iterator[str]:
        """Keep the store from being cleared; gives the epoch, another after each collection.

        Waits for a collection that is under way; raises ArtifactError where that takes too long.
        """
        mark = f"{_USERS}/{token_hex(16)}"
        self._objects.write(mark, b"")
        try:
            with _renewing(lambda: self._objects.write(mark, b""), _USER_SECONDS / 6):
                yield self._await_epoch(mark)
        finally:
            with suppress(ArtifactError):  # it counts for nothing in an hour
                self._objects.remove([mark])

    @contextmanager
    def alone(self, patience_seconds: float) -> Iterator[bool]:
        """Whether nobody uses the store; then nobody can, until this is left or killed."""
        if self._is_collected(self._objects_now()):
            yield False
            return
        epoch = self._own = token_hex(16)
        try:
            self._say(_Collection(epoch, is_running=True))
            deadline = time.monotonic() + patience_seconds
            while (users := self._users()) and time.monotonic() < deadline:
                time.sleep(_LOOK_SECONDS)
                self._say(_Collection(epoch, is_running=True))
            with _renewing(
                lambda: self._say(_Collection(epoch, is_running=True)), _COLLECTOR_SECONDS / 6
            ):
                yield not users
        finally:
            if self._read().epoch == epoch:
                self._say(_Collection(token_hex(16)))
            self._own = ""

    def require_alone(self) -> None:
        """Raise ArtifactError where others may have gone on, as this process slept for long."""
        late = _clock() - self._renewed_at > _COLLECTOR_SECONDS / 2
        if late or self._read() != _Collection(self._own, is_running=True):
            raise ArtifactError(
                "clearing the artifact store was interrupted, and others went on; repeat it"
            )

    def now(self) -> float:
        """The time by the store's own clock; of a process that is alone in it."""
        return self._objects_now()

    def _await_epoch(self, mark: str) -> str:
        found = self._read()
        if not found.is_running:
            return found.epoch
        began = time.monotonic()
        own = self._objects.find(mark)
        offset = 0.0 if own is None else own.modified_at
        while self._is_collected(offset + time.monotonic() - began):
            if time.monotonic() - began > _PATIENCE_SECONDS:
                raise ArtifactError("the artifact store is being cleared; repeat this afterwards")
            time.sleep(_LOOK_SECONDS)
            found = self._read()
        return found.epoch

    def _is_collected(self, now: float) -> bool:
        """Whether a collector is at work that lives."""
        at = self._objects.find(_COLLECTION)
        if at is None or now - at.modified_at > _COLLECTOR_SECONDS:
            return False
        return self._read().is_running

    def _users(self) -> int:
        since = self._objects_now() - _USER_SECONDS
        return sum(mark.modified_at > since for mark in self._objects.list_below(_USERS))

    def _objects_now(self) -> float:
        mark = f"lock/clock/{token_hex(16)}"
        self._objects.write(mark, b"")
        found = self._objects.find(mark)
        self._objects.remove([mark])
        return time.time() if found is None else found.modified_at

    def _read(self) -> _Collection:
        data = self._objects.read(_COLLECTION)
        try:
            return _Collection() if data is None else _Collection(**json.loads(data))
        except (ValueError, TypeError):
            return _Collection()

    def _say(self, collection: _Collection) -> None:
        began = _clock()
        self._objects.write(_COLLECTION, json.dumps(asdict(collection)).encode())
        self._renewed_at = began


@contextmanager
def _renewing(renew: Callable[[], None], seconds: float) -> Iterator[None]:
    """Renew a mark again and again, in a thread; where that fails it is soon old."""
    done = threading.Event()

    def renew_it() -> None:
        while not done.wait(seconds):
            with suppress(ArtifactError):
                renew()

    thread = threading.Thread(target=renew_it, name="mltrain-artifacts-mark", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # which goes on while a machine sleeps
