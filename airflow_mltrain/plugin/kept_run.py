"""What the artifact store keeps of a run, for people to read and to download."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mltrain.artifacts.store import KeptFile as ListedFile
    from airflow_mltrain.artifacts.store import KeptRun as ArtifactsOfRun

LOG_BYTES = 64 * 1024

_MOST_FILES = 1000
_TERMINAL_COMMAND = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # window titles and links
    r"|\x1b[@-Z\\-_]"
)


@dataclass(frozen=True)
class KeptFile:
    """One file of a run; its name is relative to the run's artifacts, with forward slashes."""

    name: str
    size_bytes: int

    @property
    def is_addressable(self) -> bool:
        """Whether a URL can name the file."""
        try:
            self.name.encode()
        except UnicodeEncodeError:
            return False
        return "\n" not in self.name


@dataclass(frozen=True)
class KeptRun:
    """What there is of a run; `fault` says why nothing of it can be read."""

    files: tuple[KeptFile, ...] = ()
    has_more: bool = False
    log_end: str = ""
    log_bytes: int = 0
    fault: str = ""

    @property
    def log_is_cut(self) -> bool:
        """Whether `log_end` is only a part of the log."""
        return self.log_bytes > LOG_BYTES


def read_kept_run(folder: Path) -> KeptRun:
    """The files below a run's folder and the end of its log; empty where there is no folder."""
    try:
        files = tuple(islice(_walk(folder, ""), _MOST_FILES + 1)) if folder.is_dir() else ()
        log = find_file(folder, "log")
        log_end = "" if log is None else read_end(log)
        log_bytes = 0 if log is None else log.stat().st_size
    except OSError as error:
        return KeptRun(fault=error.strerror or type(error).__name__)
    return KeptRun(files[:_MOST_FILES], len(files) > _MOST_FILES, log_end, log_bytes)


def read_run_elsewhere(kept: ArtifactsOfRun) -> KeptRun:
    """The same of a run whose files are on no folder of this machine."""
    files = [KeptFile(one.name, one.size_bytes) for one in kept.list_files() if not one.is_link]
    log_bytes = kept.size("log") or 0
    log_end = ""
    if log_bytes:
        log_end = as_shown(kept.read("log", max(0, log_bytes - LOG_BYTES)), log_bytes)
    shown = tuple(files[:_MOST_FILES])
    return KeptRun(shown, len(files) > _MOST_FILES, log_end, log_bytes)


def find_listed(kept: ArtifactsOfRun, name: str) -> ListedFile | None:
    """The file of that name that is no link; None where there is none."""
    return next((one for one in kept.list_files() if one.name == name and not one.is_link), None)


def find_file(folder: Path, name: str) -> Path | None:
    """The plain file of that name below `folder`.

    None for every way out of the folder, and for whatever lies behind a link.
    """
    root = folder.resolve()
    try:
        path = (root / name).resolve(strict=True)
        is_inside = path == root / name and path.is_relative_to(root)
        return path if is_inside and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # missing, too long, a NUL, a loop of links
        return None


def read_end(log: Path) -> str:
    """The last lines of a log, at most LOG_BYTES, as a terminal would show them in the end.

    Colours are left out, and of a line that was written over again and again, as progress bars
    do, the last state is shown.
    """
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOG_BYTES))
        return as_shown(file.read(LOG_BYTES), size)


def as_shown(data: bytes, size: int) -> str:
    """The end of a log of that size as a terminal would show it."""
    if size > LOG_BYTES:
        data = data.partition(b"\n")[2] or data
    text = _TERMINAL_COMMAND.sub("", data.decode(errors="replace"))
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "\n".join(lines).rstrip()


def _walk(folder: Path, prefix: str) -> Iterator[KeptFile]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            size_bytes = entry.stat(follow_symlinks=False).st_size
            yield KeptFile(prefix + entry.name, size_bytes)
