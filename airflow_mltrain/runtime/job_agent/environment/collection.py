"""What an environment cache holds, and which of it goes when room is needed."""

import contextlib
import os
import time
from typing import Any, Callable, Dict, List, Optional

from .. import file_lock
from ..removal import remove
from . import archive
from .marker import MarkerFolder
from .tree import claim_dead, list_trees, measure, tidy_up

_NEVER_READY = {
    "key": None,
    "name": None,
    "python": None,
    "platform": None,
    "packages": 0,
    "bytes": 0,
    "built_at": None,
    "last_used_at": None,
    "is_in_use": False,
}


class EnvironmentCollection:
    """All environments of one cache; `key_lock` tells the file that locks the one of a key."""

    def __init__(self, markers: MarkerFolder, trees: str, key_lock: Callable[[str], str]) -> None:
        self._markers = markers
        self._trees = trees
        self._key_lock = key_lock

    def list(self) -> List[Dict[str, Any]]:
        """As `EnvironmentCache.list` says."""
        found = [one for one in map(self._describe, self._markers.keys()) if one is not None]
        return sorted(found, key=lambda one: float(one["last_used_at"]), reverse=True)

    def collect(
        self, max_bytes: Optional[int], *, is_dry_run: bool, idle_seconds: float
    ) -> List[Dict[str, Any]]:
        """As `EnvironmentCache.collect` says."""
        gone = self._collect_garbage(is_dry_run=is_dry_run)
        if max_bytes is None:
            return gone
        ready = self.list()
        excess = sum(int(one["bytes"]) for one in ready) - max_bytes
        for one in reversed(ready):
            if excess <= 0 < max_bytes:
                break
            is_recent = idle_seconds > 0 and time.time() - one["last_used_at"] < idle_seconds
            if one["is_in_use"] or is_recent:
                continue
            if is_dry_run or self._is_removed(one["key"]):
                gone.append(one)
                excess -= one["bytes"]
        return gone

    def _describe(self, key: str) -> Optional[Dict[str, Any]]:
        marker = self._markers.read(key)
        if marker is None:
            return None
        packages = marker.resolved["packages"], marker.resolved["conda"]
        return {
            "key": key,
            "name": marker.name,
            "python": marker.resolved.get("python"),
            "platform": marker.resolved.get("platform"),
            "packages": sum(map(len, packages)),
            "bytes": marker.bytes + archive.size_in(os.path.join(self._trees, marker.tree)),
            "built_at": marker.built_at,
            "last_used_at": self._markers.last_used_at(key),
            "is_in_use": self._is_in_use(key),
        }

    def _is_in_use(self, key: str) -> bool:
        try:
            with file_lock.exclusive(self._key_lock(key)) as is_free:
                return not is_free
        except FileNotFoundError:  # a cache that cannot be written, and that nobody ever used
            return False

    def _is_removed(self, key: str) -> bool:
        """Remove an environment, unless somebody has come to use it, or its files withstand."""
        try:
            with file_lock.exclusive(self._key_lock(key)) as is_free:
                marker = self._markers.read(key) if is_free else None
                if marker is None:
                    return False
                self._markers.remove(key)
            with claim_dead(self._trees, marker.tree) as is_dead:
                if is_dead:
                    self._clear(marker.tree)
        except OSError:
            return False
        return True

    def _collect_garbage(self, *, is_dry_run: bool) -> List[Dict[str, Any]]:
        gone = []
        named = self._markers.named_trees()
        for tree_id, has_builder in sorted(list_trees(self._trees).items()):
            if tree_id in named and not has_builder:
                continue
            # What cannot be removed now is still garbage the next time.
            with contextlib.suppress(OSError), claim_dead(self._trees, tree_id) as is_dead:
                if is_dead:
                    size = self._measure_garbage(tree_id)
                    if not is_dry_run:
                        self._clear(tree_id)
                    if size is not None:
                        gone.append(dict(_NEVER_READY, bytes=size))
        return gone

    def _measure_garbage(self, tree_id: str) -> Optional[int]:
        if tree_id in self._markers.named_trees():
            return None
        path = os.path.join(self._trees, tree_id)
        return measure(path) + measure(path + ".work")

    def _clear(self, tree_id: str) -> None:
        """Remove what is left of a claimed tree; all of it, unless it is ready."""
        # Asked with the claim in hand: its builder may have published it a moment ago.
        if tree_id not in self._markers.named_trees():
            remove(os.path.join(self._trees, tree_id))
        tidy_up(self._trees, tree_id)
