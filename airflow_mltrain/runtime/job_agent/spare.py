"""Spare copies of projects: laid out when a run has ended, for the next one to begin with.

To make ten thousand files takes longer than all else before a script, and on some disks a hundred
take a tenth of a second. A spare becomes the folder of a run by a change of its name, is that
run's alone from then on, and only files that differ are copied into it.
"""

import contextlib
import json
import os
import re
import stat
import sys
from typing import Any, Dict, List, Optional, Tuple

from . import file_lock, process
from .checkout import check_out, copy_entry, is_digest, require_blobs, require_sound

_LEAST_FILES = 50  # fewer are copied in no time
_MOST_BYTES = 1_000_000_000
_MOST_SPARES = 2
_LEAST_FREE = 4  # times what it takes: a disk that is nearly full is for runs
_MOST_CHANGES = 0.25  # of all entries: beyond, a new copy is as quick
_NICENESS = 10
_DRAFT = "draft."
_SIZE = re.compile(rb'"size":([0-9]+)}\n')

_Entries = List[Dict[str, Any]]


class Spares:
    """The folder `<root>/spares`: each under the boot that it was made in, and its snapshot.

    What was not yet on the disk when a machine lost its power is in none of this boot.
    """

    def __init__(self, root: str) -> None:
        self._folder = os.path.join(root, "spares")
        self._blobs = os.path.join(root, "blobs")
        self._boot = process.boot_id()

    def take(self, manifest: bytes, destination: str) -> bool:
        """Have a spare become the new folder `destination`, laid out as the manifest says.

        False, and there is no such folder, where none fits.
        """
        for name in self._names() if manifest.count(b"\n") > _LEAST_FILES else ():
            try:
                change = _find_change(self._read(name.rpartition(".")[2]), manifest)
                if change is None:
                    continue
                require_blobs(change[1], os.fsencode(self._blobs))
                os.rename(os.path.join(self._folder, name), destination)
            except (OSError, ValueError):  # somebody else has taken it, or whoever copies says why
                continue
            try:
                self._change(os.fsencode(destination), *change)
            except (OSError, ValueError):
                _remove_tree(destination)
                return False
            return True
        return False

    def is_worthwhile(self, snapshot_id: str) -> bool:
        """Whether a spare of the snapshot saves time, and is not too large; OSError."""
        return _measure(self._read(snapshot_id)) is not None

    def leave(self, snapshot_id: str) -> None:
        """Lay out a spare of a snapshot, unless it is not worth it, there, or being laid out.

        The calling process is nice from then on. OSError or ValueError where that cannot be.
        """
        manifest = self._read(snapshot_id)
        size = _measure(manifest)
        if size is None:
            return
        os.nice(_NICENESS)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < _LEAST_FREE * size:
            return
        with file_lock.exclusive(os.path.join(self._folder, "lock")) as is_alone:
            if not is_alone:
                return
            self._clear()
            name = "{}.{}".format(self._boot, snapshot_id)
            if name not in self._names():
                self._lay_out(manifest, name)
            with contextlib.suppress(FileNotFoundError):  # it was taken already
                os.utime(os.path.join(self._folder, name))
            for old in self._names()[_MOST_SPARES:]:
                self._remove(old)

    def _lay_out(self, manifest: bytes, name: str) -> None:
        draft = self._draft()
        try:
            check_out(manifest, self._blobs, draft)
            os.rename(draft, os.path.join(self._folder, name))
        except (OSError, ValueError):
            _remove_tree(draft)
            raise

    def _names(self) -> List[str]:
        """The spares of this boot, last left first."""
        found: List[Tuple[float, str]] = []
        for name in self._all():
            with contextlib.suppress(FileNotFoundError):  # it was taken just now
                modified_at = os.stat(os.path.join(self._folder, name)).st_mtime
                if name.startswith(self._boot + "."):
                    found.append((modified_at, name))
        return [name for _, name in sorted(found, reverse=True)]

    def _all(self) -> List[str]:
        try:
            return os.listdir(self._folder)
        except FileNotFoundError:
            return []

    def _change(self, destination: bytes, gone: _Entries, come: _Entries) -> None:
        for entry in gone:
            os.unlink(os.path.join(destination, _encoded(entry)))
        for entry in come:
            path = os.path.join(destination, _encoded(entry))
            if os.path.lexists(path) or not stat.S_ISDIR(os.lstat(os.path.dirname(path)).st_mode):
                raise ValueError("{!r} comes twice, or not below a directory".format(path))
            copy_entry(entry, os.fsencode(self._blobs), destination)

    def _clear(self) -> None:
        """Remove what killed runs left half done, and what is of another boot."""
        for name in self._all():
            if name.startswith(_DRAFT):
                _remove_tree(os.path.join(self._folder, name))
            elif name != "lock" and not name.startswith(self._boot + "."):
                self._remove(name)

    def _remove(self, name: str) -> None:
        draft = self._draft()
        with contextlib.suppress(FileNotFoundError):  # it was taken
            os.rename(os.path.join(self._folder, name), draft)  # else half of it might be
            _remove_tree(draft)

    def _draft(self) -> str:
        return os.path.join(self._folder, _DRAFT + os.urandom(8).hex())

    def _read(self, snapshot_id: str) -> bytes:
        """The manifest of a snapshot; ValueError where that is the name of none, but a path."""
        if not is_digest(snapshot_id):
            raise ValueError("not a snapshot: {!r:.80}".format(snapshot_id))
        with open(os.path.join(self._blobs, snapshot_id[:2], snapshot_id), "rb") as file:
            return file.read()


def _measure(manifest: bytes) -> Optional[int]:
    """The bytes of a project that is worth a spare; None for any other."""
    sizes = [int(size) for size in _SIZE.findall(manifest)]
    size = sum(sizes)
    return size if len(sizes) >= _LEAST_FILES and size <= _MOST_BYTES else None


def _find_change(before: bytes, after: bytes) -> Optional[Tuple[_Entries, _Entries]]:
    """The files that have to go, and those to be put there; None where it is more than that."""
    old, new = set(before.splitlines()), set(after.splitlines())
    gone, come = old - new, new - old
    if len(gone) + len(come) > _MOST_CHANGES * len(new):
        return None
    entries = [[require_sound(json.loads(line)) for line in lines] for lines in (gone, come)]
    if any(entry["kind"] != "file" for some in entries for entry in some):
        return None
    return entries[0], entries[1]


def _remove_tree(path: str) -> None:
    import shutil  # noqa: PLC0415  # dear at start-up, and seldom needed

    shutil.rmtree(path, ignore_errors=True)  # what is left goes the next time


def _encoded(entry: Dict[str, Any]) -> bytes:
    return str(entry["path"]).encode("utf-8", "surrogateescape")


def leave_spare(root: str, snapshot_id: str) -> Optional[str]:
    """Leave a spare in a root folder, of a snapshot; why there is none, where that cannot be."""
    try:
        Spares(root).leave(snapshot_id)
    except (OSError, ValueError) as error:
        return "there is no spare of the code: {}".format(error)
    return None


def main(argv: List[str]) -> None:
    """The same as a program, for `argv`."""
    sys.exit(leave_spare(*argv))
