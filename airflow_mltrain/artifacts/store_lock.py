"""Who is about to refer to what is in a store, and who clears it: a lock made of objects.

A file lock does not reach other machines. Whoever uses the store leaves a mark and then looks for
a collector; a collector says that it is one and then looks for marks. One of them sees the other.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from airflow_mltrain.errors import ArtifactError, StoreUnreachableError

if TYPE_CHECKING:
    from airflow_mltrain.artifacts.objects import Objects

_COLLECTION: Final = "lock/collection.json"
_USERS: Final = "lock/using"
_USER_SECONDS: Final = 3600.0  # after which a mark that nobody renewed is a killed process's
_COLLECTOR_SECONDS: Final = 90.0
_LOOK_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 180.0
_PER_LOOK: Final = 200
_INTERRUPTED: Final = "clearing the artifact store was interrupted, and others went on; repeat it"


@dataclass(frozen=True)
class _Collection:
    """The last collection, or the one under way."""

    epoch: str = ""
    is_running: bool = False


class StoreUse:
    """One use of a store, through a mark that is renewed until it may have counted as dead."""

    def __init__(self, objects: Objects, lasts_seconds: float) -> None:
        self._objects = objects
        self._lasts_seconds = lasts_seconds
        self.mark = f"{_USERS}/{token_hex(16)}"
        self.epoch = ""  # another after each collection
        self._marked_at = _clock()

    def renew(self) -> None:
        """Say that the store is used; nothing where a collector may have gone on meanwhile."""
        if not self._is_over():
            began = _clock()
            self._objects.write(self.mark, b"")
            self._marked_at = began

    def require(self) -> None:
        """Raise ArtifactError where what is about to be referred to may have been removed."""
        if self._is_over():
            raise ArtifactError(
                "this process slept, or did not reach the artifact store, for so long that what "
                "it was about to refer to may have been removed there; repeat this"
            )

    def _is_over(self) -> bool:
        return _clock() - self._marked_at > self._lasts_seconds / 2


class StoreLock:
    """The lock of one store, for any number of processes on any number of machines."""

    def __init__(
        self,
        objects: Objects,
        *,
        user_seconds: float = _USER_SECONDS,
        collector_seconds: float = _COLLECTOR_SECONDS,
    ) -> None:
        self._objects = objects
        self._user_seconds = user_seconds
        self._collector_seconds = collector_seconds
        self._own = ""  # the collection that this process is at
        self._renewed_at = 0.0

    @contextmanager
    def used(self) -> Iterator[StoreUse]:
        """Keep the store from being cleared.

        Waits for a collection that is under way; raises ArtifactError where that takes too long.
        """
        use = StoreUse(self._objects, self._user_seconds)
        use.renew()
        try:
            with _renewing(use.renew, self._user_seconds / 6):
                use.epoch = self._await_epoch(use.mark)
                yield use
        finally:
            with suppress(ArtifactError):  # it counts for nothing in an hour
                self._objects.remove([use.mark])

    @contextmanager
    def alone(self, patience_seconds: float) -> Iterator[bool]:
        """Whether nobody uses the store; then nobody can, until this is left or killed."""
        if self._is_collected(self._objects_now()):
            yield False
            return
        epoch = self._own = token_hex(16)
        try:
            is_alone = self._claim(epoch, patience_seconds)
            with _renewing(self._renew, self._collector_seconds / 6):
                yield is_alone
        finally:
            if self._read().epoch == epoch:
                self._say(_Collection(token_hex(16)))
            self._own = ""

    def require_alone(self) -> None:
        """Raise ArtifactError where others may have gone on, as this process slept for long."""
        self._require_fresh()
        if self._read() != _Collection(self._own, is_running=True):
            raise ArtifactError(_INTERRUPTED)

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects; ArtifactError as soon as others may have gone on."""
        for start in range(0, len(keys), _PER_LOOK):
            self.require_alone()
            self._objects.remove(keys[start : start + _PER_LOOK], self._require_fresh)

    def now(self) -> float:
        """The time by the store's own clock; of a process that is alone in it."""
        return self._objects_now()

    def _claim(self, epoch: str, patience_seconds: float) -> bool:
        """Whether this process is the one that clears the store, and users have left it."""
        deadline = time.monotonic() + patience_seconds
        while True:
            self._say(_Collection(epoch, is_running=True))
            # In which others who have seen no collector either say so: the last of them it is.
            time.sleep(_LOOK_SECONDS)
            if self._read().epoch != epoch:
                return False
            if not self._users():
                return True
            if time.monotonic() >= deadline:
                return False

    def _await_epoch(self, mark: str) -> str:
        found = self._read()
        if not found.epoch:  # nobody has ever used this store; another one's record is not its own
            self._objects.create(_COLLECTION, _encode(_Collection(token_hex(16))))
            found = self._read()
        if not found.is_running:
            return found.epoch
        began = time.monotonic()
        own = self._objects.find(mark)
        offset = 0.0 if own is None else own.modified_at
        while self._is_collected(offset + time.monotonic() - began):
            if time.monotonic() - began > _PATIENCE_SECONDS:
                raise StoreUnreachableError(
                    "the artifact store is being cleared; repeat this afterwards"
                )
            time.sleep(_LOOK_SECONDS)
            found = self._read()
        return found.epoch

    def _is_collected(self, now: float) -> bool:
        """Whether a collector is at work that lives."""
        at = self._objects.find(_COLLECTION)
        if at is None or now - at.modified_at > self._collector_seconds:
            return False
        return self._read().is_running

    def _users(self) -> int:
        since = self._objects_now() - self._user_seconds
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
        except (ValueError, TypeError):  # half of it may be written; its age tells
            return _Collection(token_hex(16), is_running=True)

    def _renew(self) -> None:
        # What others may have taken for dead must not rise again: they have gone on.
        with suppress(ArtifactError):
            self.require_alone()
            self._say(_Collection(self._own, is_running=True))

    def _require_fresh(self) -> None:
        if _clock() - self._renewed_at > self._collector_seconds / 2:
            raise ArtifactError(_INTERRUPTED)

    def _say(self, collection: _Collection) -> None:
        began = _clock()
        self._objects.write(_COLLECTION, _encode(collection))
        self._renewed_at = began


def _encode(collection: _Collection) -> bytes:
    return json.dumps(asdict(collection)).encode()


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
