"""The environment of one job: found, built or unpacked, and leased, before its script begins."""

import os
import time
from typing import Any, Callable, Dict, Optional

from .. import process
from ..children import release_signals
from ..folder import JobFolder
from ..plain_file import write_new
from ..script import spawn_builder
from . import archive
from .cache import EnvironmentCache, Lease
from .interpreter import InterpreterNotFoundError

_BUILD_ROUNDS = 3
_IDLE_SECONDS = 60.0  # an environment that was just used stays, as after a build

# Begins a child by the function that returns its pid, and returns once that has done its work; the
# job ends where it fails, and for the reason given where it is not over at that time.
RunChild = Callable[[Callable[[], int], Optional[float], str], None]


class PreparationError(Exception):
    """There is no environment for the job; the words are for who reads its log."""


class EnvironmentPreparation:
    """Has the environment there that a job asks for, and nobody remove it until `release`.

    Children build, pack and unpack it, so that the job can be stopped meanwhile.
    """

    def __init__(
        self, folder: JobFolder, spec: Dict[str, Any], secrets: bytes, run_child: RunChild
    ) -> None:
        self.tree: Optional[str] = None  # the environment's folder, once it is there
        self._folder = folder
        self._secrets = secrets
        self._run_child = run_child
        self._request: Optional[Dict[str, Any]] = spec["environment"]
        self._spark: Optional[Dict[str, Any]] = spec["spark"]
        self._cache = EnvironmentCache(folder.environments)
        self._lease: Optional[Lease] = None
        self._is_building = False
        limit = None if self._request is None else self._request["prepare_timeout_seconds"]
        self._deadline = None if limit is None else time.monotonic() + limit
        self._late = "its preparation took longer than prepare_timeout_seconds = {}".format(limit)

    def take(self) -> Optional[Dict[str, Any]]:
        """Find the environment or have it built; what it was resolved to, unless it came packed.

        Raises PreparationError, OSError, SpawnError.
        """
        if self._request is None:
            self._unpack()
            return None
        self._lease = lease = self._find_or_build(self._request)
        self.tree = lease.tree
        return lease.resolved

    def pack(self, say: Callable[[str], None]) -> None:
        """Have it packed for executors, where there will be any."""
        tree = self.tree
        if self._request is None or self._spark is None or tree is None or archive.size_in(tree):
            return
        self._run_child(
            lambda: self._fork(lambda: archive.pack(tree, say)), self._deadline, self._late
        )
        self._cache.collect(self._request["max_cache_bytes"], idle_seconds=_IDLE_SECONDS)

    def remove_half_built(self) -> None:
        """After a builder was ended, remove what it left; OSError where that fails."""
        if self._is_building:
            self._cache.collect(max_bytes=None)

    def release(self) -> None:
        """Let others remove it."""
        if self._lease is not None:
            self._lease.close()

    def _find_or_build(self, request: Dict[str, Any]) -> Lease:
        for builds in range(_BUILD_ROUNDS + 1):
            try:
                lease = self._cache.find(request, may_search=builds > 0)
            except InterpreterNotFoundError as error:
                raise PreparationError(str(error)) from None
            if lease is not None:
                return lease
            if builds < _BUILD_ROUNDS:
                self._build()
        raise PreparationError("its environment was removed whenever it had been built")

    def _build(self) -> None:
        self._is_building = True
        self._run_child(
            lambda: spawn_builder(self._folder, self._secrets), self._deadline, self._late
        )
        self._is_building = False

    def _unpack(self) -> None:
        """Use the environment that came as an archive, as that of a driver elsewhere does."""
        digest = (self._spark or {})["archive"]
        tree = os.path.join(self._folder.path, archive.NAME)
        packed = os.path.join(self._folder.blobs, digest[:2], digest)
        self._run_child(lambda: self._fork(lambda: archive.unpack(packed, tree)), None, "")
        self.tree = tree

    def _fork(self, work: Callable[[], object]) -> int:
        """Have a child do what takes long, which leaves in words why it could not."""
        own_pid, pid = os.getpid(), os.fork()
        if pid:
            return pid
        code = 1
        try:
            release_signals()
            process.die_with(own_pid)
            work()
            code = 0
        except (OSError, ValueError) as error:
            write_new(self._folder.preparation_fault, str(error).encode(errors="replace"))
        finally:
            os._exit(code)
