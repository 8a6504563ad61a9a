"""The artifacts of a run as objects, and the manifest that makes them the run's."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from airflow_mltrain.artifacts.draft import filled
from airflow_mltrain.artifacts.object_key import key_of
from airflow_mltrain.artifacts.store import KeptFile
from airflow_mltrain.errors import ArtifactError

if TYPE_CHECKING:
    from airflow_mltrain.artifacts.objects import Objects

_VERSION: Final = 1
_BUFFER_BYTES: Final = 1 << 20
_LARGE_BYTES: Final = 4 << 20
_OUTPUTS: Final = "outputs"


@dataclass(frozen=True)
class StoredFile:
    """A file of a run, and the digest of the object that has its bytes."""

    name: str
    mode: int
    size: int
    sha256: str


@dataclass(frozen=True)
class RunManifest:
    """All that was kept of a run; its id is that of its content."""

    files: tuple[StoredFile, ...]
    directories: dict[str, int]  # their modes
    links: dict[str, str]  # their targets

    @classmethod
    def of(cls, folder: Path) -> RunManifest:
        """What lies in a folder; other things than files, folders and links are left out."""
        files, directories, links = [], {}, {}
        for place, names, others in os.walk(folder, onerror=_raise):
            for entry in (*names, *others):
                path = Path(place, entry)
                name = path.relative_to(folder).as_posix()
                status = path.lstat()
                if stat.S_ISLNK(status.st_mode):
                    links[name] = os.readlink(path)  # noqa: PTH115 - as it was written
                elif stat.S_ISDIR(status.st_mode):
                    directories[name] = stat.S_IMODE(status.st_mode)
                elif stat.S_ISREG(status.st_mode):
                    files.append(_describe(path, name, status))
        files.sort(key=lambda file: file.name)
        return cls(tuple(files), dict(sorted(directories.items())), dict(sorted(links.items())))

    @classmethod
    def decode(cls, data: bytes) -> RunManifest:
        """The manifest; ValueError, KeyError or TypeError where it is none."""
        found: dict[str, Any] = json.loads(data)
        if found["version"] != _VERSION:
            raise ValueError(f"it has version {found['version']}")
        files = tuple(StoredFile(**file) for file in found["files"])
        manifest = cls(files, dict(found["directories"]), dict(found["links"]))
        names = (*(file.name for file in files), *manifest.directories, *manifest.links)
        parents = {os.fspath(parent) for name in names for parent in PurePosixPath(name).parents}
        others = {*manifest.links, *(file.name for file in files)}
        if not all(map(_is_inside, names)) or parents & others:
            raise ValueError("it names a file outside of the run")
        if len({*names}) != len(names):
            raise ValueError("it names a file twice")
        return manifest

    def encode(self) -> bytes:
        """As bytes, which are equal for equal content."""
        return json.dumps({"version": _VERSION, **asdict(self)}, sort_keys=True).encode("ascii")

    @property
    def content_id(self) -> str:
        """Tells apart what two processes may have found of one run."""
        return hashlib.sha256(self.encode()).hexdigest()[:16]


class RemoteRun:
    """What was kept of a run; see `store.KeptRun`."""

    def __init__(self, objects: Objects, run_id: str, manifest: RunManifest, drafts: Path) -> None:
        self._objects = objects
        self._run_id = run_id
        self._manifest = manifest
        self._prefix = f"{prefix_of(run_id)}/{manifest.content_id}"
        self._drafts = drafts
        self._files = {file.name: file for file in manifest.files}
        self._keys = frozenset(self._key(file) for file in manifest.files)

    @property
    def has_outputs(self) -> bool:
        """Whether there is anything in its `outputs/`."""
        manifest = self._manifest
        names = (*self._files, *manifest.directories, *manifest.links)
        return any(name.startswith(f"{_OUTPUTS}/") for name in names)

    def list_files(self) -> list[KeptFile]:
        """Its files by name."""
        files = [KeptFile(one.name, one.size, sha256=one.sha256) for one in self._files.values()]
        linked = ((name, self._find(name)) for name in self._manifest.links)
        files += [KeptFile(name, file.size, is_link=True) for name, file in linked if file]
        return sorted(files, key=lambda file: file.name)

    def size(self, name: str) -> int | None:
        """The size of a file in bytes."""
        file = self._find(name)
        return None if file is None else file.size

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """So many bytes of a file."""
        file = self._require(name)
        end = file.size if size is None else min(start + size, file.size)
        if start >= end:
            return b""
        data = self._objects.read(self._key(file), start, end)
        if data is None or len(data) != end - start:
            raise self._damaged(file)
        return data

    def copy(self, name: str, destination: Path) -> None:
        """Copy a file; what was there is replaced when all of it has come, and was checked."""
        file = self._require(name)
        if destination.is_dir():
            raise IsADirectoryError(21, "Is a directory", os.fspath(destination))
        draft = destination.with_name(f".{token_hex(8)}.part")
        try:
            self._fetch(file, draft)
            draft.replace(destination)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def uri(self, name: str) -> str:
        """Where a file lies."""
        return self._objects.uri(self._key(self._require(name)))

    def has_object(self, key: str) -> bool:
        """Whether an object is one of this run's."""
        return key in self._keys

    @property
    def outputs_uri(self) -> str:
        """Where its outputs lie."""
        return self._objects.uri(f"{self._prefix}/{_OUTPUTS}")

    @contextmanager
    def outputs_folder(self) -> Iterator[Path]:
        """Its `outputs/` as a folder."""
        folder = self._drafts / f"{self._run_id}.{token_hex(8)}"
        try:
            with filled(folder):
                self._lay_out(folder)
            yield folder / _OUTPUTS
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _lay_out(self, folder: Path) -> None:
        (folder / _OUTPUTS).mkdir(mode=0o700)
        manifest = self._manifest
        directories = {n: m for n, m in manifest.directories.items() if _is_output(n)}
        for name in directories:
            (folder / name).mkdir(parents=True, exist_ok=True)
        files = [file for file in manifest.files if _is_output(file.name)]
        self._objects.for_each(lambda file: self._fetch(file, folder / file.name), files)
        for file in files:
            (folder / file.name).chmod(file.mode)
        for name, target in manifest.links.items():
            if _is_output(name):
                (folder / name).symlink_to(target)
        for name, mode in reversed(directories.items()):
            (folder / name).chmod(mode)

    def _fetch(self, file: StoredFile, destination: Path) -> None:
        hashed = hashlib.sha256()
        with destination.open("xb") as output:
            for part in self._objects.read_parts(self._key(file), file.size):
                hashed.update(part)
                output.write(part)
        if hashed.hexdigest() != file.sha256:
            raise self._damaged(file)

    def _key(self, file: StoredFile) -> str:
        return f"{self._prefix}/{key_of(file.name)}"

    def _require(self, name: str) -> StoredFile:
        file = self._find(name)
        if file is None:
            raise ArtifactError(f"run {self._run_id} kept no file {name!r}")
        return file

    def _find(self, name: str) -> StoredFile | None:
        """The file of that name, or that a link of that name leads to."""
        for _ in range(len(self._manifest.links) + 1):
            if name in self._files or name not in self._manifest.links:
                return self._files.get(name)
            target = self._manifest.links[name]
            name = os.path.normpath(os.path.join(os.path.dirname(name), target))  # noqa: PTH118, PTH120
        return None

    def _damaged(self, file: StoredFile) -> ArtifactError:
        return ArtifactError(
            f"{file.name} of run {self._run_id} is not what was stored as "
            f"{self._objects.uri(self._key(file))}; bring that object back, or do without it"
        )


def prefix_of(run_id: str) -> str:
    """Below which key the objects of a run lie."""
    return f"runs/{key_of(run_id)}"


def manifest_key(run_id: str) -> str:
    """The key of the object that makes the others the run's."""
    return f"{prefix_of(run_id)}/manifest.json"


def store_files(objects: Objects, run_id: str, folder: Path, manifest: RunManifest) -> None:
    """Upload what the store has not of a run's files; what is killed is gone on with."""
    prefix = f"{prefix_of(run_id)}/{manifest.content_id}"
    there = {found.key: found.size_bytes for found in objects.list_below(prefix)}
    wanted = [
        file for file in manifest.files if there.get(f"{prefix}/{key_of(file.name)}") != file.size
    ]

    def upload(file: StoredFile) -> None:
        objects.upload(folder / file.name, f"{prefix}/{key_of(file.name)}")

    objects.for_each(upload, [file for file in wanted if file.size < _LARGE_BYTES])
    for file in wanted:
        if file.size >= _LARGE_BYTES:  # in parts, side by side: one file at a time is enough
            upload(file)


def _raise(error: OSError) -> None:
    raise error


def _is_inside(name: str) -> bool:
    return not {"", ".", ".."} & set(name.split("/")) and "\0" not in name


def _is_output(name: str) -> bool:
    return name.startswith(f"{_OUTPUTS}/")


def _describe(path: Path, name: str, status: os.stat_result) -> StoredFile:
    hashed = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_BUFFER_BYTES):
            hashed.update(chunk)
            size += len(chunk)
    return StoredFile(name, stat.S_IMODE(status.st_mode), size, hashed.hexdigest())
