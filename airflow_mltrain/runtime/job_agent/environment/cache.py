"""The environments of one machine: each is built once, shared by its runs, removed when idle."""

import contextlib
import os
import time
from typing import Any, ContextManager, Dict, List, Optional

from .. import file_lock
from .collection import EnvironmentCollection
from .key import Foundation, find_foundation, key_of, recall_foundation
from .marker import Marker, MarkerFolder, is_lock, read_json, write_lasting
from .tree import Draft, make_lasting, measure, open_draft

_PATIENCE_SECONDS, _LOOK_SECONDS = 1.0, 0.005


class Lease:
    """A ready environment that nobody removes until `close`, or the end of the process."""

    def __init__(self, descriptor: int, tree: str, resolved: Dict[str, Any]) -> None:
        self.tree = tree
        self.resolved = resolved
        self._descriptor = descriptor

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


class EnvironmentCache:
    """The folder `<root>/envs`; any number of processes may use it at once.

    `<key>.json` says that an environment is ready, and where; `<key>.lock` is held by those who
    use it, or by the one who makes or removes it. Only what is ready is ever given out.
    """

    def __init__(self, folder: str) -> None:
        self.wheels = os.path.join(folder, "wheels")
        self._folder = folder
        self._trees = os.path.join(folder, "trees")
        self._locks = os.path.join(folder, "locks")
        self._markers = MarkerFolder(folder)

    def find(self, request: Dict[str, Any], *, may_search: bool = False) -> Optional[Lease]:
        """The environment that a job asks for, if it is ready; None if it has to be built.

        With `may_search` the Python it is built on may be searched for, which can take long, and
        InterpreterNotFoundError says that the machine lacks it; otherwise it has to be known.
        """
        foundation = (
            self.find_foundation(request)
            if may_search
            else recall_foundation(request, self._folder)
        )
        if foundation is None:
            return None
        lock = self.find_lock(request, foundation.platform)
        lease = None if lock is None else self._lease(key_of(lock, foundation))
        if lease is not None:  # another recipe may have come down to the same environment first
            lease.resolved["recipe_id"] = request["recipe_id"]
        return lease

    def find_foundation(self, request: Dict[str, Any]) -> Foundation:
        """What this machine builds it on, as `key.find_foundation` says."""
        return find_foundation(request, self._folder)

    def find_lock(self, request: Dict[str, Any], platform: str) -> Optional[Dict[str, Any]]:
        """The exact packages that the run history or this machine knows for the recipe."""
        given = request["locks"].get(platform)
        if is_lock(given):
            return dict(given)
        lock = read_json(self._lock_name(request["recipe_id"], platform) + ".json")
        return lock if is_lock(lock) else None

    def keep_lock(self, recipe_id: str, platform: str, lock: Dict[str, Any], draft: Draft) -> None:
        """Remember what the recipe resolved to; for the holder of `resolution_lock` alone."""
        write_lasting(self._lock_name(recipe_id, platform) + ".json", lock, draft.work)

    def is_ready(self, key: str) -> bool:
        """Whether that environment is there, whole."""
        return self._read_ready(key) is not None

    def open_draft(self) -> ContextManager[Draft]:
        """Room for a new environment, as `tree.open_draft` says."""
        os.makedirs(self._locks, mode=0o700, exist_ok=True)
        return open_draft(self._trees)

    def publish(self, draft: Draft, name: str, resolved: Dict[str, Any]) -> int:
        """Declare the draft ready, and return its bytes; for the holder of `key_lock` alone."""
        make_lasting(draft.path)
        size = measure(draft.path)
        draft.is_kept = True
        try:
            marker = Marker(draft.tree_id, name, resolved, size, time.time())
            self._markers.write(marker, draft.work)
        except OSError:
            draft.is_kept = False
            raise
        return size

    def key_lock(self, key: str) -> str:
        """The file to lock for making or removing that environment; never unlinked."""
        return os.path.join(self._folder, key + ".lock")

    def resolution_lock(self, recipe_id: str, platform: str) -> str:
        """The file to lock for finding out a recipe's exact packages; never unlinked."""
        return self._lock_name(recipe_id, platform) + ".lock"

    def list(self) -> List[Dict[str, Any]]:
        """What is ready here, the last used first; times in seconds since 1970."""
        return self._collection().list()

    def collect(
        self,
        max_bytes: Optional[int],
        is_dry_run: bool = False,  # noqa: FBT001, FBT002  # callers say its name
        idle_seconds: float = 0,
    ) -> List[Dict[str, Any]]:
        """Remove the least recently used environments until the rest fits; None: all may stay.

        What killed builders left goes in any case; what is in use, or was within `idle_seconds`,
        stays in any case. Returns what was removed, or would be, as `list` does; the key of what
        was never ready is None. May be killed, and repeated by several at once.
        """
        return self._collection().collect(
            max_bytes, is_dry_run=is_dry_run, idle_seconds=idle_seconds
        )

    def _collection(self) -> EnvironmentCollection:
        return EnvironmentCollection(self._markers, self._trees, self.key_lock)

    def _lock_name(self, recipe_id: str, platform: str) -> str:
        return os.path.join(self._locks, "{}-{}".format(recipe_id, platform))

    def _lease(self, key: str) -> Optional[Lease]:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.is_ready(key):
            try:
                descriptor = file_lock.try_shared(self.key_lock(key))
            except (FileNotFoundError, PermissionError):
                return None
            if descriptor is not None:
                return self._claim(key, descriptor)
            if time.monotonic() > deadline:
                return None
            time.sleep(_LOOK_SECONDS)  # who publishes, counts or removes is soon done
        return None

    def _claim(self, key: str, descriptor: int) -> Optional[Lease]:
        marker = self._read_ready(key)  # again: it may have been removed before it was locked
        if marker is None:
            os.close(descriptor)
            return None
        with contextlib.suppress(OSError):  # where nothing can be written, nothing is removed
            self._markers.note_use(key)
        return Lease(descriptor, os.path.join(self._trees, marker.tree), marker.resolved)

    def _read_ready(self, key: str) -> Optional[Marker]:
        marker = self._markers.read(key)
        if marker is None:
            return None
        python = os.path.join(self._trees, marker.tree, "bin", "python")
        return marker if os.access(python, os.X_OK) else None
