"""What lies on this machine: its jobs, and blobs that none of them needs any more."""

import contextlib
import os
import re
import time
from typing import Any, Dict, Iterator, List, Optional, Set

from . import blobs, file_lock
from .burial import bury_if_dead
from .checkout import blobs_of
from .folder import TERMINAL, JobFolder
from .plain_file import read_from
from .removal import open_up

_NOT_STARTED = "NotStarted"
_DRAFT_OR_BLOB = re.compile("[0-9a-f]{64}([.].*)?|stream[.].*")
_PATIENCE_SECONDS = 30.0
_MANIFEST_BYTES = 1024 * 1024 * 1024


def list_jobs(root: str) -> List[Dict[str, Any]]:
    """Every job that this machine has: its run id, its status and when that last changed.

    One that was left to a supervisor which has not claimed it is NotStarted, as is one that was
    only canceled.
    """
    found = []
    for folder in _folders(root):
        with contextlib.suppress(OSError):  # a full disk: the next look tries again
            bury_if_dead(folder)
        changed_at = _changed_at(folder)
        if changed_at is None:
            continue
        with contextlib.suppress(OSError):  # a script may have seen to it: no other is hidden
            state = folder.read_state()
            status = _NOT_STARTED if state is None else state["status"]
            found.append({"run_id": folder.run_id, "status": status, "changed_at": changed_at})
    return found


def collect_blobs(root: str, least_age_seconds: float, *, is_dry_run: bool) -> Dict[str, int]:
    """Remove the blobs that no unfinished job needs and nobody brought lately.

    Returns their `count` and `bytes`; nothing is removed while others begin jobs without a pause.
    """
    collected = {"count": 0, "bytes": 0}
    folder = os.path.join(root, "blobs")
    if not os.path.isdir(folder):
        return collected
    with file_lock.exclusive(blobs.lock_of(root), _PATIENCE_SECONDS) as is_alone:
        if not is_alone:
            return collected
        needed = _needed(root)
        latest = time.time() - least_age_seconds
        for entry in _blobs_below(folder):
            if entry.name in needed:
                continue
            with contextlib.suppress(FileNotFoundError):  # a draft that became a blob
                status = entry.stat(follow_symlinks=False)
                if status.st_mtime > latest:
                    continue
                if not is_dry_run:
                    os.unlink(entry.path)
                collected["count"] += 1
                collected["bytes"] += status.st_size
    return collected


def _folders(root: str) -> Iterator[JobFolder]:
    runs = os.path.join(root, "runs")
    try:
        open_up(runs)  # a script may have shut it
        names = sorted(os.listdir(runs))
    except FileNotFoundError:
        return
    for name in names:
        with contextlib.suppress(ValueError):  # nothing of ours
            folder = JobFolder(root, name)
            if os.path.isdir(folder.path):
                yield folder


def _changed_at(folder: JobFolder) -> Optional[float]:
    for path in (folder.state, folder.spec, folder.path):
        with contextlib.suppress(OSError):
            return os.stat(path).st_mtime
    return None


def _needed(root: str) -> Set[str]:
    """The blobs of the jobs that have yet to lay them out, and of those that may."""
    needed: Set[str] = set()
    for folder in _folders(root):
        # Without a whole spec a job cannot begin; a script that spoilt its own has begun.
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            state = folder.read_state()
            if state is not None and state["status"] in TERMINAL:
                continue
            spec = folder.read_spec()
            snapshots = blobs.snapshots_of(spec)
            needed.update([*snapshots, *spec["blobs"]])
            for snapshot_id in snapshots:
                path = os.path.join(folder.blobs, snapshot_id[:2], snapshot_id)
                needed.update(blobs_of(read_from(path, 0, _MANIFEST_BYTES)))
    return needed


def _blobs_below(folder: str) -> "Iterator[os.DirEntry[str]]":
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _blobs_below(entry.path)
        elif _DRAFT_OR_BLOB.fullmatch(entry.name):
            yield entry
