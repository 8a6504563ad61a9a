"""The environment of a job as one file, which Spark unpacks beside each of its executors."""

import contextlib
import os
import time
from typing import TYPE_CHECKING, Callable, Optional

from .. import file_lock
from ..plain_file import size_of

if TYPE_CHECKING:
    import tarfile

NAME = "environment"  # the folder that it becomes in an executor's working directory
_FILE = "spark-environment.tar.gz"
_LEVEL = 1  # it travels within the cluster
_LOOK_SECONDS = 0.1


def path_of(tree: str) -> str:
    """Where the archive of an environment is, once it is packed."""
    return os.path.join(tree, _FILE)


def size_in(tree: str) -> int:
    """How many bytes the archive of an environment takes beside it; 0 where there is none."""
    return size_of(path_of(tree))


def pack(tree: str, say: Callable[[str], None]) -> None:
    """Have an archive of an environment that the caller has a lease on; made once.

    It lies in the environment's own folder, and is removed with it.
    """
    path = path_of(tree)
    while not os.path.exists(path):
        with file_lock.exclusive(path + ".lock") as is_held:
            if is_held and not os.path.exists(path):
                started = time.monotonic()
                _write(tree, path)
                size, seconds = size_of(path), time.monotonic() - started
                words = "the environment was packed for executors in {:.1f} s, {:.0f} MB"
                say(words.format(seconds, size / 1e6))
        if not is_held:
            time.sleep(_LOOK_SECONDS)  # another job of the same environment packs it


def unpack(archive: str, tree: str) -> None:
    """Have the environment of an archive in a folder, with the archive in its place."""
    import tarfile  # noqa: PLC0415  # dear at start-up

    os.makedirs(tree, mode=0o700, exist_ok=True)
    trusted = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
    with tarfile.open(archive) as packed:
        packed.extractall(tree, **trusted)  # type: ignore[arg-type]  # noqa: S202  # ours
    os.link(archive, path_of(tree))


def _write(tree: str, path: str) -> None:
    import tarfile  # noqa: PLC0415  # dear at start-up, and needed once

    draft = path + ".draft"
    try:
        with tarfile.open(draft, "w:gz", compresslevel=_LEVEL) as archive:
            archive.add(tree, arcname=".", filter=_selected)
        descriptor = os.open(draft, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)  # half of it after a power cut would be kept for good
        finally:
            os.close(descriptor)
        os.replace(draft, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)


def _selected(entry: "tarfile.TarInfo") -> "Optional[tarfile.TarInfo]":
    return None if os.path.basename(entry.name).startswith(_FILE) else entry
