"""What the folder of all jobs, and the file system below it, can do."""

import errno
import os
import re
import shutil
import tempfile
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from . import file_lock
from .probe import ProbeError, ask, look

_MOUNTS = "/proc/self/mountinfo"
_OCTAL = re.compile(r"\\([0-7]{3})")
_QUOTA_FIELDS = 9  # file system, then used, soft limit, limit and grace of blocks and of files
_QUOTA_BLOCK_BYTES = 1024
_TRIES, _PAUSE_SECONDS = 10, 0.02
_PROBE = b"#!/bin/sh\nexit 0\n"


class Mount(NamedTuple):
    """A file system, and where it is to be found."""

    point: str
    kind: str
    source: str


def look_at_root(root: str) -> Dict[str, Any]:
    """Facts of a root folder; nothing is left in it, and it is not made where it is missing.

    `lacks` names what does not work there, with the reason: write, link, lock, rename, reserve,
    symlink, execute.
    """
    nearest = os.path.realpath(root)
    while not os.path.lexists(nearest):
        nearest = os.path.dirname(nearest)
    if not os.path.isdir(nearest):
        raise NotADirectoryError(errno.ENOTDIR, "this is no folder", nearest)
    mount = look(lambda: find_mount(nearest)._asdict())
    return {
        "path": root,
        "exists": os.path.isdir(root),
        "mount": mount,
        "space": look(lambda: _space(nearest)),
        "quota": look(lambda: _quota(mount.get("point", nearest))),
        "lacks": try_out(nearest),
    }


def find_mount(path: str, mounts: str = _MOUNTS) -> Mount:
    """The file system that a real path lies on, as the file `mounts` tells."""
    best = None
    with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            place, _, rest = line.partition(" - ")
            point = _OCTAL.sub(lambda match: chr(int(match.group(1), 8)), place.split()[4])
            kind, source = rest.split()[:2]
            is_above = (path + "/").startswith(point.rstrip("/") + "/")
            if is_above and (best is None or len(point) >= len(best.point)):
                best = Mount(point, kind, source)  # of two at one point the later one shows
    if best is None:
        raise ProbeError("{} does not tell what {} lies on".format(mounts, path))
    return best


def read_quota(output: str) -> Optional[Dict[str, Optional[int]]]:
    """The user's quota from the words of `quota -w -p`; None where there is none."""
    for line in output.splitlines():
        fields = [field.rstrip("*") for field in line.split()]
        if len(fields) != _QUOTA_FIELDS or not all(field.isdigit() for field in fields[1:]):
            continue
        used, soft, hard, _, used_files, soft_files, hard_files, _ = map(int, fields[1:])
        limit, limit_files = hard or soft, hard_files or soft_files
        return {
            "used_bytes": used * _QUOTA_BLOCK_BYTES,
            "limit_bytes": limit * _QUOTA_BLOCK_BYTES or None,
            "used_files": used_files,
            "limit_files": limit_files or None,
        }
    return None


def try_out(folder: str) -> Dict[str, str]:
    """What does not work in a folder of all that the job agent needs, with the reason."""
    lacks: Dict[str, str] = {}
    try:
        place = tempfile.mkdtemp(prefix=".mltrain-check-", dir=folder)
    except OSError as error:
        return {"write": _reason(error)}
    try:
        for name, attempt in _ATTEMPTS:
            try:
                attempt(place)
            except (OSError, ProbeError) as error:
                lacks[name] = _reason(error)
            if "write" in lacks:
                break
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return lacks


def _reason(error: Exception) -> str:
    """Why, without the name of a file that nobody knows."""
    return str(getattr(error, "strerror", None) or error)


def _space(folder: str) -> Dict[str, Any]:
    found = os.statvfs(folder)
    return {
        "total_bytes": found.f_blocks * found.f_frsize,
        "free_bytes": found.f_bavail * found.f_frsize,
        "free_files": found.f_favail if found.f_files else None,  # some file systems do not count
        "is_read_only": bool(found.f_flag & os.ST_RDONLY),
        "is_noexec": bool(found.f_flag & os.ST_NOEXEC),
    }


def _quota(point: str) -> Optional[Dict[str, Optional[int]]]:
    program = shutil.which("quota")
    if program is None:
        return None
    answer = ask([program, "-w", "-p", "-f", point])  # its exit code tells who is over the limit
    return read_quota(answer.output)


def _write(place: str) -> None:
    descriptor = os.open(os.path.join(place, "probe"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_PROBE)
        file.flush()
        os.fsync(descriptor)


def _link(place: str) -> None:
    source, copy = os.path.join(place, "probe"), os.path.join(place, "link")
    os.link(source, copy)
    try:
        os.link(source, copy)
    except FileExistsError:
        return
    raise ProbeError("a second link takes the place of the first")


def _lock(place: str) -> None:
    path = os.path.join(place, "lock")
    first = file_lock.try_exclusive(path)
    if first is None:
        raise ProbeError("a new file is locked")
    try:
        second = file_lock.try_exclusive(path)
    finally:
        os.close(first)
    if second is not None:
        os.close(second)
        raise ProbeError("two hold the same lock at once")


def _rename(place: str) -> None:
    source, target = os.path.join(place, "draft"), os.path.join(place, "target")
    for path in (source, target):
        with open(path, "wb") as file:
            file.write(path.encode(errors="surrogateescape"))
    os.replace(source, target)


def _reserve(place: str) -> None:
    descriptor = os.open(os.path.join(place, "reserve"), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, len(_PROBE))
    finally:
        os.close(descriptor)


def _symlink(place: str) -> None:
    os.symlink("probe", os.path.join(place, "symlink"))


def _execute(place: str) -> None:
    program = os.path.join(place, "probe")
    for _ in range(_TRIES):
        try:
            answer = ask([program])
        except OSError as error:
            if error.errno != errno.ETXTBSY:  # a child just begun elsewhere may hold it open
                raise
            time.sleep(_PAUSE_SECONDS)
            continue
        if answer.exit_code != 0:
            raise ProbeError("a program there ended with {}".format(answer.exit_code))
        return
    raise ProbeError("a program there stays busy")


_ATTEMPTS: List[Tuple[str, Callable[[str], None]]] = [
    ("write", _write),
    ("link", _link),
    ("lock", _lock),
    ("rename", _rename),
    ("reserve", _reserve),
    ("symlink", _symlink),
    ("execute", _execute),
]
