"""A build context as the engine takes it: a tar stream, made of blobs."""

from __future__ import annotations

import io
import posixpath
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Final

from airflow_mltrain.environments.plan import ImagePlan
from airflow_mltrain.errors import JobStartError
from airflow_mltrain.snapshots.blobs import Blobs
from airflow_mltrain.snapshots.manifest import Entry, Manifest

_IN_MEMORY_BYTES: Final = 16 * 1024 * 1024
_MOST_LINKS: Final = 40
_IGNORE_FILE: Final = ".dockerignore"


def read_dockerfile(plan: ImagePlan, blobs: Blobs) -> str:
    """The text of the Dockerfile, wherever it comes from; JobStartError where there is none."""
    if plan.dockerfile is not None:
        return plan.dockerfile
    entries = _entries(plan, blobs)
    path = plan.dockerfile_path
    for _ in range(_MOST_LINKS):
        entry = entries.get(path)
        if entry is None:
            break
        if entry.sha256 is not None:
            return blobs.read(entry.sha256).decode(errors="replace")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), entry.target or ""))
    raise JobStartError(f"the build context has no {plan.dockerfile_path}")


@contextmanager
def open_context(plan: ImagePlan, blobs: Blobs) -> Iterator[IO[bytes]]:
    """The context's tar, in a temporary file that is gone afterwards; the same for equal ones."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            if plan.context_id is None:
                _add(tar, plan.dockerfile_path, 0o644, str(plan.dockerfile).encode())
            else:
                _add_snapshot(tar, plan, blobs)
        file.seek(0)
        yield file


def _entries(plan: ImagePlan, blobs: Blobs) -> Mapping[str, Entry]:
    manifest = Manifest.decode(blobs.read(str(plan.context_id)))
    return {entry.path: entry for entry in manifest.entries}


def _add_snapshot(tar: tarfile.TarFile, plan: ImagePlan, blobs: Blobs) -> None:
    entries = _entries(plan, blobs)
    # The engine applies that file to what it gets, also where another one counted.
    is_overruled = f"{plan.dockerfile_path}{_IGNORE_FILE}" in entries
    paths = blobs.paths({entry.sha256 for entry in entries.values() if entry.sha256 is not None})
    for entry in entries.values():
        if is_overruled and entry.path == _IGNORE_FILE:
            continue
        info = tarfile.TarInfo(entry.path)
        info.mode = int(entry.mode or "777", 8)  # a link has none
        if entry.sha256 is not None:
            path = paths[entry.sha256]
            info.size = path.stat().st_size
            with path.open("rb") as content:
                tar.addfile(info, content)
            continue
        if entry.target is None:
            info.type = tarfile.DIRTYPE
        else:
            info.type, info.linkname = tarfile.SYMTYPE, entry.target
        tar.addfile(info)


def _add(tar: tarfile.TarFile, name: str, mode: int, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.size = mode, len(content)
    tar.addfile(info, io.BytesIO(content))
