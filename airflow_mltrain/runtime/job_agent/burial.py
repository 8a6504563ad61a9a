"""What is done for a job whose supervisor died: its processes are stopped and its end recorded."""

import contextlib
import os
import time
from typing import Any, ContextManager, Dict, Optional

from . import file_lock, process
from .folder import TERMINAL, JobFolder
from .plain_file import read_from, size_of

_PATIENCE_SECONDS = 2.0
_LAST_WORDS_BYTES = 64 * 1024


def bury_if_dead(folder: JobFolder) -> bool:
    """Where the supervisor died, stop what it left running and record why the job failed.

    Several may try at once. False if the job is dead and still unburied: ask again. A job that has
    a container to itself is left to who can look at that, see `bury_with`.
    """
    if not _is_dead(folder):
        return True
    folder.create()  # a script may have put something else in its place
    if not _is_dead(folder):
        return True
    # First of all, for one of them may have the lock.
    if not _stop_processes(folder):
        return False
    with _burying(folder) as is_held:
        return is_held and (not _is_dead(folder) or _bury(folder))


def is_bereft(folder: JobFolder) -> bool:
    """Whether the job's container is gone, or its supervisor in it, and its end is not recorded.

    Its other processes went with the container, whose engine knows why.
    """
    state = folder.read_state()
    if state is None or state["status"] in TERMINAL or not _is_contained(state):
        return False
    if folder.is_life_held():
        return False
    state = folder.read_state()  # its last act may have been to record the end
    return state is not None and state["status"] not in TERMINAL


def bury_with(folder: JobFolder, reason: str, exit_code: Optional[int]) -> None:
    """Record the end of a bereft job, which all of its processes have reached; else nothing."""
    with _burying(folder) as is_held:
        if is_held and is_bereft(folder):
            state = folder.read_state()
            if state is not None:
                state["exit_code"] = exit_code
                _record_end(folder, state, reason)


def last_words(folder: JobFolder) -> str:
    """The end of what the job's supervisors printed; empty for one that said nothing."""
    start = max(0, size_of(folder.supervisor_log) - _LAST_WORDS_BYTES)
    words = read_from(folder.supervisor_log, start, _LAST_WORDS_BYTES).decode(errors="replace")
    return words.strip()[-2000:]


def _burying(folder: JobFolder) -> ContextManager[bool]:
    folder.make_way(folder.burial_lock)
    return file_lock.exclusive(folder.burial_lock)


def _is_dead(folder: JobFolder) -> bool:
    state = folder.read_state()
    if state is None or state["status"] in TERMINAL or _is_contained(state):
        return False
    if process.is_alive(state["supervisor"]):
        return False
    # Asked again: its last act may have been to record the end.
    state = folder.read_state()
    return state is not None and state["status"] not in TERMINAL


def _bury(folder: JobFolder) -> bool:
    state = folder.read_state()
    if state is None:
        return True
    if not _stop_processes(folder):
        return False
    _record_end(folder, state, _cause_of_death(folder, state["supervisor"]))
    return True


def _stop_processes(folder: JobFolder) -> bool:
    """Whether none is left."""
    return process.stop_all(
        lambda: process.processes_of(folder.run_id),
        grace_seconds=0,
        patience_seconds=_PATIENCE_SECONDS,
    )


def _is_contained(state: Dict[str, Any]) -> bool:
    return bool(state["supervisor"].get("is_contained"))


def _record_end(folder: JobFolder, state: Dict[str, Any], reason: str) -> None:
    is_canceled = folder.is_marked_canceled()
    _remove_half_built(folder)
    folder.remove_secrets()
    state.update(
        status="Canceled" if is_canceled else "Failed",
        reason=None if is_canceled else reason,
        ended_at=time.time(),
        **folder.measure(),
    )
    folder.write_last_state(state)


def _remove_half_built(folder: JobFolder) -> None:
    """Remove what a build left that died with its supervisor: its scratch folder has secrets."""
    if not os.path.isdir(folder.environments):
        return
    from .environment.cache import EnvironmentCache  # noqa: PLC0415  # many jobs need none

    with contextlib.suppress(OSError):  # it is garbage for the next one who builds
        EnvironmentCache(folder.environments).collect(max_bytes=None)


def _cause_of_death(folder: JobFolder, supervisor: Dict[str, Any]) -> str:
    if supervisor["boot_id"] != process.boot_id():
        return "host rebooted while the job ran"
    cause = "the job's supervisor (pid {}) was killed; its processes were stopped".format(
        supervisor["pid"]
    )
    words = last_words(folder)
    return "{}\n{}".format(cause, words) if words else cause
