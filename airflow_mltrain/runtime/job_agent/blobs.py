"""Which blobs this machine has: files of snapshots and beside them, by their SHA-256."""

import contextlib
import os
from typing import Any, ContextManager, Dict, Iterable, List, Optional

from . import file_lock
from .checkout import blobs_of


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
    """Whether the machine has every blob that a job needs."""
    return missing_of_snapshot(root, spec["snapshot_id"]) == [] and not missing(
        root, spec["blobs"]
    )
