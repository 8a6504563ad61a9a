"""Folders that are being filled, which others may take for what a killed process left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOENT
from pathlib import Path
from uuid import uuid4


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Make a folder, and see that it is still that one when it was filled.

    Raises OSError where it cannot be made, or somebody has removed it meanwhile: who fills it may
    have made it again, with the rest of what belongs there.
    """
    folder.mkdir(parents=True, mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield
        if not os.path.samestat(os.fstat(descriptor), folder.stat()):
            raise OSError(ENOENT, "it was taken for an old one, and removed", os.fspath(folder))
    finally:
        os.close(descriptor)


def remove_whole(folder: Path) -> None:
    """Remove a folder of which nobody is to see a part; nothing where it is not there any more."""
    gone = folder.with_name(f".{uuid4().hex}")
    with suppress(FileNotFoundError):
        folder.rename(gone)
        shutil.rmtree(gone)


def remove_older(folder: Path, instant: float) -> None:
    """The same, where it was not changed since then."""
    with suppress(FileNotFoundError):  # a draft that has just become what it was made for
        if folder.stat().st_mtime < instant:
            remove_whole(folder)
