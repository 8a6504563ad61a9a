"""What is done for a job whose supervisor died: its processes are stopped and its end recorded."""

import contextlib
import fcntl
import os
import time
from typing import Any, Dict

from . import process
from .folder import TERMINAL, JobFolder, read_from, size_of

_PATIENCE_SECONDS = 2.0
_LAST_WORDS_BYTES = 64 * 1024


def bury_if_dead(folder: JobFolder) -> bool:
    """Where the supervisor died, stop what it left running and record why the job failed.

    Several may try at once. False if the job is dead and still unburied: ask again.
    """
    if not _is_dead(folder):
        return True
    lock = os.open(folder.burial_lock, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return not _is_dead(folder) or _bury(folder)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)


def last_words(folder: JobFolder) -> str:
    """The end of what the job's supervisors printed; empty for one that said nothing."""
    start = max(0, size_of(folder.supervisor_log) - _LAST_WORDS_BYTES)
    words = read_from(folder.supervisor_log, start, _LAST_WORDS_BYTES).decode(errors="replace")
    return words.strip()[-2000:]


def _is_dead(folder: JobFolder) -> bool:
    state = folder.read_state()
    if state is None or state["status"] in TERMINAL or process.is_alive(state["supervisor"]):
        return False
    # Asked again: its last act may have been to record the end.
    state = folder.read_state()
    return state is not None and state["status"] not in TERMINAL


def _bury(folder: JobFolder) -> bool:
    state = folder.read_state()
    if state is None:
        return True
    is_quiet = process.stop_all(
        lambda: process.processes_of(folder.run_id),
        grace_seconds=0,
        patience_seconds=_PATIENCE_SECONDS,
    )
    if not is_quiet:
        return False
    is_canceled = folder.is_marked_canceled()
    _remove_half_built(folder)
    state.update(
        status="Canceled" if is_canceled else "Failed",
        reason=None if is_canceled else _cause_of_death(folder, state["supervisor"]),
        ended_at=time.time(),
        log_bytes=size_of(folder.log),
        metrics_bytes=size_of(folder.metrics),
    )
    folder.write_last_state(state)
    return True


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
