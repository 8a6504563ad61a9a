"""The artifacts of a run in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_mltrain.artifacts.store import KeptFile


class FolderRun:
    """What was kept of a run; see `store.KeptRun`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def has_outputs(self) -> bool:
        """Whether there is anything in its `outputs/`."""
        try:
            return any((self.folder / "outputs").iterdir())
        except FileNotFoundError:
            return False

    def list_files(self) -> list[KeptFile]:
        """Its files by name; none where all were removed meanwhile, as a run is."""
        files: list[KeptFile] = []
        try:
            files = sorted(self._files(), key=lambda file: file.name)
        except FileNotFoundError:
            if self.folder.exists():
                raise
        return files if self.folder.exists() else []

    def _files(self) -> Iterator[KeptFile]:
        for path in self.folder.rglob("*"):
            if path.is_file():
                name = path.relative_to(self.folder).as_posix()
                yield KeptFile(name, path.stat().st_size, path.is_symlink())

    def size(self, name: str) -> int | None:
        """The size of a file in bytes."""
        path = self.folder / name
        return path.stat().st_size if path.is_file() else None

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """So many bytes of a file."""
        with (self.folder / name).open("rb") as file:
            file.seek(start)
            return file.read(size)

    def copy(self, name: str, destination: Path) -> None:
        """Copy a file."""
        shutil.copyfile(self.folder / name, destination)

    def uri(self, name: str) -> str:
        """Where a file lies."""
        return (self.folder / name).absolute().as_uri()

    @contextmanager
    def outputs_folder(self) -> Iterator[Path]:
        """Its `outputs/` as a folder."""
        yield self.folder / "outputs"
