"""What a job needs and this machine has: files of snapshots and beside them, by their SHA-256."""

import contextlib
import os
from typing import Any, ContextManager, Dict, Iterable, List, Optional

from . import file_lock
from .checkout import blobs_of
from .folder import TERMINAL, JobFolder


def kept(root: str) -> ContextManager[None]:
    """Keeps blobs from being removed, for who found them and leaves a job that needs them."""
    return file_lock.shared(lock_of(root))


def lock_of(root: str) -> str:
    """Who removes blobs has this file's lock alone."""
    return os.path.join(root, "blobs", "lock")


def missing(root: str, digests: Iterable[str]) -> List[str]:
    """Which of these blobs the machine lacks."""
    blobs = os.path.join(root, "blobs")
    exists = os.path.exists
    return [
        digest for digest in digests if not exists("{}/{}/{}".format(blobs, digest[:2], digest))
    ]


def missing_of_snapshot(root: str, snapshot_id: str) -> Optional[List[str]]:
    """Which blobs of a snapshot the machine lacks; None where it does not know the snapshot.

    A manifest that is damaged is removed, and so is unknown: whoever submits brings it again.
    """
    path = os.path.join(root, "blobs", snapshot_id[:2], snapshot_id)
    try:
        with open(path, "rb") as file:
            wanted = blobs_of(file.read())
    except FileNotFoundError:
        return None
    except ValueError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return None
    return missing(root, wanted)


def are_there(root: str, spec: Dict[str, Any]) -> bool:
    """Whether the machine has every blob that a job needs, and what it goes on from."""
    return (
        missing_of_snapshot(root, spec["snapshot_id"]) == []
        and not missing(root, spec["blobs"])
        and _has_outputs(root, spec)
    )


def snapshots_of(spec: Dict[str, Any]) -> List[str]:
    """Those that a job lays out: its code, and what it goes on from where that was sent."""
    previous = spec.get("previous_outputs") or {}
    return list(filter(None, (spec["snapshot_id"], previous.get("snapshot_id"))))


def _has_outputs(root: str, spec: Dict[str, Any]) -> bool:
    previous = spec.get("previous_outputs")
    if previous is None:
        return True
    if previous["snapshot_id"] is not None:
        return missing_of_snapshot(root, previous["snapshot_id"]) == []
    if (spec.get("spark") or {}).get("manager") is not None:
        return False  # its driver runs elsewhere and gets them as blobs, as it gets its code
    folder = JobFolder(root, previous["run_id"])
    state = folder.read_state()
    is_over = state is not None and state["status"] in TERMINAL
    return is_over and os.path.isdir(folder.outputs) and not os.path.islink(folder.outputs)
