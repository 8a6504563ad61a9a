"""What an earlier run of the same submission left, for a script that goes on from there.

A job's `previous_outputs` has the `run_id` of that run, whose folder is still on this machine, and
the `snapshot_id` of its outputs where they had to be brought here.
"""

import contextlib
import os
import stat
from typing import Any, Dict

from .checkout import check_out, copy_file
from .folder import JobFolder


def lay_out(folder: JobFolder, told: Dict[str, Any]) -> None:
    """Copy them to the job's own folder; OSError or ValueError where that cannot be done."""
    snapshot_id = told["snapshot_id"]
    if snapshot_id is None:
        _copy_tree(JobFolder(folder.root, told["run_id"]).outputs, folder.previous_outputs)
        return
    with open(os.path.join(folder.blobs, snapshot_id[:2], snapshot_id), "rb") as file:
        check_out(file.read(), folder.blobs, folder.previous_outputs)


def _copy_tree(source: str, destination: str) -> None:
    """Copy what is kept of outputs: files, folders and the links among them that may be read."""
    top = os.fsencode(source)
    root = os.path.realpath(top)

    def take(path: bytes, copy: bytes) -> None:
        with contextlib.suppress(PermissionError):
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode):
                os.mkdir(copy, 0o700)
                for name in os.listdir(path):
                    take(os.path.join(path, name), os.path.join(copy, name))
            elif stat.S_ISREG(status.st_mode):
                copy_file(path, copy, stat.S_IMODE(status.st_mode) & 0o777, status.st_size)
            elif stat.S_ISLNK(status.st_mode):
                target = os.path.realpath(path)
                if target.startswith(root + b"/"):
                    here = os.path.realpath(os.path.dirname(path))
                    os.symlink(os.path.relpath(target, here), copy)

    take(top, os.fsencode(destination))
