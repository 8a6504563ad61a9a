"""The folders in which environments are built, and in which they stay."""

import contextlib
import os
import re
from typing import Dict, Iterator, Tuple

from .. import file_lock
from ..removal import remove

_NAME = re.compile(r"([0-9a-f]{16})(\.lock|\.work)?")
_BLOCK_BYTES = 512


class Draft:
    """Room for one new environment: `path`, yet to be made, and `work`, a scratch folder.

    Set `is_kept` before `path` gets known to others; it is removed otherwise.
    """

    def __init__(self, trees: str, tree_id: str) -> None:
        self.tree_id = tree_id
        self.path = os.path.join(trees, tree_id)
        self.work = self.path + ".work"
        self.is_kept = False


@contextlib.contextmanager
def open_draft(trees: str) -> Iterator[Draft]:
    """Room for an environment, nobody's garbage while this process lives in the block."""
    os.makedirs(trees, mode=0o755, exist_ok=True)
    draft, lock = _claim_new(trees)
    try:
        os.mkdir(draft.work, 0o700)
        yield draft
    finally:
        try:
            with contextlib.suppress(OSError):  # whoever collects garbage tries again
                remove(draft.work)
                if not draft.is_kept:
                    remove(draft.path)
                os.unlink(_lock_of(draft.path))
        finally:
            os.close(lock)


def _claim_new(trees: str) -> Tuple[Draft, int]:
    while True:
        draft = Draft(trees, os.urandom(8).hex())
        lock = file_lock.try_exclusive(_lock_of(draft.path))
        if lock is None:
            continue
        if os.fstat(lock).st_nlink > 0:
            return draft, lock
        os.close(lock)  # taken for garbage between its making and its locking


@contextlib.contextmanager
def claim_dead(trees: str, tree_id: str) -> Iterator[bool]:
    """Whether nobody builds that tree; if so, nobody else removes it during the block."""
    path = os.path.join(trees, tree_id)
    lock = file_lock.try_exclusive(_lock_of(path))
    if lock is None:
        yield False
        return
    try:
        yield os.fstat(lock).st_nlink > 0
    finally:
        os.close(lock)


def tidy_up(trees: str, tree_id: str) -> None:
    """Remove what the builder of a claimed tree needed, its lock last."""
    path = os.path.join(trees, tree_id)
    remove(path + ".work")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_lock_of(path))


def list_trees(trees: str) -> Dict[str, bool]:
    """The ids of all trees, and whether a builder works there or has left something."""
    found: Dict[str, bool] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(trees):
            match = _NAME.fullmatch(name)
            if match:
                tree_id, suffix = match.groups()
                found[tree_id] = found.get(tree_id, False) or suffix is not None
    return found


def is_tree_id(text: object) -> bool:
    """Whether it names a tree, and nothing else in the file system."""
    match = _NAME.fullmatch(text) if isinstance(text, str) else None
    return match is not None and match.group(2) is None


def measure(path: str) -> int:
    """The bytes that a folder takes on disk; links to one file count once, a missing one 0."""
    total, counted = 0, set()
    for parent, _, names in os.walk(path):
        for name in [".", *names]:
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(os.path.join(parent, name))
                if found.st_nlink == 1 or found.st_ino not in counted:
                    counted.add(found.st_ino)
                    total += found.st_blocks * _BLOCK_BYTES
    return total


def make_lasting(path: str) -> None:
    """Have all that was written to this file system on its disk, a power cut notwithstanding."""
    import ctypes  # noqa: PLC0415  # dear at start-up, and needed only by a builder

    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    finally:
        os.close(descriptor)


def _lock_of(path: str) -> str:
    return path + ".lock"
