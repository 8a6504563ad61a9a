"""Laying out a snapshot from a folder of blobs."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from .sharing import share_out

_VERSION = 1
_DIGEST = re.compile("[0-9a-f]{64}")
_MODE = re.compile("[0-7]{1,3}")
_NAMED = re.compile(rb'"sha256": ?"([0-9a-f]{64})"')  # in a name it would have backslashes
_IS_FILE = b'"sha256"'
_NO_NAME = re.compile(r"[\0\ud800-\udc7f\udd00-\udfff]")  # what no name of a file holds
_BUFFER_BYTES = 1 << 20
_FILES_WORTH_A_PROCESS = 1000
_MOST_LINKS = 40  # the kernel follows no more on one way, and says that they go in circles
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


class DamagedBlobError(ValueError):
    """A blob that is not what its name says, as a power cut may leave it."""

    def __init__(self, words: str, path: bytes) -> None:
        super().__init__(words)
        self.path = path


def check_out(manifest: bytes, blobs: str, destination: str, processes: int = 1) -> None:
    """Lay out the snapshot in a new directory, or one that an interrupted call left.

    Very many files are copied by up to so many `processes`, which are forked: only for a caller
    without threads, who reaps no children meanwhile.

    Nothing is written unless every entry stays inside and every blob is there: ValueError names an
    unsafe or damaged entry, FileNotFoundError a missing blob. The owner may always enter and
    change the directories; files get their own mode. Content is copied, never shared.
    """
    entries = _read_manifest(manifest)
    folder = os.fsencode(blobs)
    require_blobs(entries, folder)
    root = os.fsencode(destination)
    os.makedirs(root, exist_ok=True)
    files = []
    for entry in entries:
        path = root + b"/" + _encode(entry["path"])
        if entry["kind"] == "directory":
            _make_directory(path, int(entry["mode"], 8) | 0o700)
        elif entry["kind"] == "link":
            _make_link(path, _encode(entry["target"]))
        else:
            files.append(_as_copy(entry, folder, root))
    share_out(files, _copy_all, min(processes, 1 + len(files) // _FILES_WORTH_A_PROCESS))


def blobs_of(manifest: bytes) -> List[str]:
    """The digests that a manifest names; ValueError where it is plainly cut or none."""
    header, found, _ = manifest.partition(b"\n")
    digests = _NAMED.findall(manifest)
    is_whole = found and manifest.endswith(b"\n") and len(digests) == manifest.count(_IS_FILE)
    if not is_whole or _read_json(header) != {"version": _VERSION}:
        raise ValueError("the manifest is damaged, or of a version unknown here")
    return [digest.decode() for digest in set(digests)]


def find_leaving_link(links: Mapping[str, str]) -> Optional[str]:
    """Which of these links, path to target, leads outside the directory all paths are from.

    An absolute target is outside. Links on the way are followed; a link that leads nowhere, or in
    circles, stays inside.
    """
    for path in links:
        if _leaves(path, links):
            return path
    return None


def _leaves(path: str, links: Mapping[str, str]) -> bool:
    place = path.split("/")[:-1]
    ahead = [path.rpartition("/")[2]]
    followed = 0
    while ahead and followed <= _MOST_LINKS:
        name = ahead.pop()
        if name == "..":
            if not place:
                return True
            place.pop()
        elif name not in ("", "."):
            onward = links.get("/".join([*place, name]))
            if onward is None:
                place.append(name)
            elif onward.startswith("/"):
                return True
            else:
                ahead.extend(reversed(onward.split("/")))
                followed += 1
    return False


def _read_manifest(manifest: bytes) -> List[Dict[str, Any]]:
    header, *lines = manifest.decode("ascii").splitlines() or [""]
    if _read_json(header) != {"version": _VERSION}:
        raise ValueError("the manifest has a version unknown here: {:.80}".format(header))
    # One by one takes thrice the time.
    entries: List[Dict[str, Any]] = _read_json("[{}]".format(",".join(lines)))
    directories = {""}
    links = {}
    seen = set()
    for entry in entries:
        path = require_sound(entry)["path"]
        parent = path.rpartition("/")[0]
        if path in seen or parent not in directories:
            raise ValueError("{!r} comes twice, or not below a directory".format(path))
        seen.add(path)
        if entry["kind"] == "directory":
            directories.add(path)
        elif entry["kind"] == "link":
            links[path] = entry["target"]
    leaving = find_leaving_link(links)
    if leaving is not None:
        raise ValueError("the link {!r} -> {!r} leads outside".format(leaving, links[leaving]))
    return entries


def _read_json(text: Union[str, bytes]) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("the manifest is nested, which none is") from None


def require_sound(entry: object) -> Dict[str, Any]:
    """An entry of a manifest that can be laid out; else ValueError."""
    if not isinstance(entry, dict) or not _is_sound(entry):
        raise ValueError("the manifest has an unsafe or damaged entry: {!r:.200}".format(entry))
    return entry


def _is_sound(entry: Dict[str, Any]) -> bool:
    kind = entry.get("kind")
    if kind not in ("file", "directory", "link") or not _is_safe(entry.get("path")):
        return False
    if kind == "link":
        target = entry.get("target")
        return isinstance(target, str) and target != "" and not _NO_NAME.search(target)
    if not _is_text(entry.get("mode"), _MODE):
        return False
    return kind == "directory" or (
        is_digest(entry.get("sha256")) and type(entry.get("size")) is int
    )


def _is_safe(path: object) -> bool:
    if not isinstance(path, str) or _NO_NAME.search(path):
        return False
    return not {"", ".", ".."}.intersection(path.split("/"))


def is_digest(value: object) -> bool:
    """Whether this names content, and leads to no other place than a blob's."""
    return _is_text(value, _DIGEST)


def _is_text(value: object, form: "re.Pattern[str]") -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def require_blobs(entries: List[Dict[str, Any]], folder: bytes) -> None:
    """FileNotFoundError or DamagedBlobError where a file of these cannot be copied."""
    sizes = {entry["sha256"]: entry["size"] for entry in entries if entry["kind"] == "file"}
    for digest, size in sizes.items():
        path = _locate(folder, digest)
        try:
            found = os.stat(path).st_size
        except FileNotFoundError:
            raise FileNotFoundError(
                errno.ENOENT, "blob {} is missing".format(digest), os.fsdecode(path)
            ) from None
        if found != size:
            raise DamagedBlobError(
                "blob {} is damaged: it has {} bytes, not {}".format(digest, found, size), path
            )


def _make_directory(path: bytes, mode: int) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise
    os.chmod(path, mode)


def _make_link(path: bytes, target: bytes) -> None:
    try:
        os.symlink(target, path)
    except FileExistsError:
        os.unlink(path)
        os.symlink(target, path)


def copy_entry(entry: Dict[str, Any], blobs: bytes, root: bytes) -> None:
    """Copy one file, whose place is free."""
    copy_file(*_as_copy(entry, blobs, root))


def _as_copy(entry: Dict[str, Any], blobs: bytes, root: bytes) -> Tuple[bytes, bytes, int, int]:
    path = root + b"/" + _encode(entry["path"])
    return _locate(blobs, entry["sha256"]), path, int(entry["mode"], 8), entry["size"]


def _copy_all(files: Sequence[Tuple[bytes, bytes, int, int]]) -> None:
    for blob, path, mode, size in files:
        copy_file(blob, path, mode, size)


def copy_file(blob: bytes, path: bytes, mode: int, size: int) -> None:
    """Copy so many bytes of a file to a place that is free, or that an interrupted call took."""
    source = os.open(blob, os.O_RDONLY)
    try:
        copy = _create(path)
        try:
            remaining = size
            while remaining:
                data = os.read(source, min(remaining, _BUFFER_BYTES))
                if not data:
                    raise OSError("blob {} became shorter".format(os.fsdecode(blob)))
                _write(copy, data)
                remaining -= len(data)
            os.fchmod(copy, mode)
        finally:
            os.close(copy)
    finally:
        os.close(source)


def _create(path: bytes) -> int:
    try:
        return os.open(path, _CREATE, 0o600)
    except FileExistsError:
        os.unlink(path)  # an interrupted call left it; writing into it could follow a link
        return os.open(path, _CREATE, 0o600)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _locate(folder: bytes, digest: str) -> bytes:
    name = digest.encode("ascii")
    return folder + b"/" + name[:2] + b"/" + name


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
