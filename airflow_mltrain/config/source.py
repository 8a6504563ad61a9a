"""Whether a source directory and its script are where the user said."""

from __future__ import annotations

import os
import stat
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mltrain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILES_LOOKED_AT = 2000


def check_source(source_directory: str, script: str | None) -> None:
    """Raise ConfigurationError unless the directory exists and the script is a file inside it."""
    directory = Path(source_directory).absolute()
    mode = _find_mode(directory, "source_directory")
    if mode is None:
        hint = ", and ~ is not expanded" if source_directory.startswith("~") else ""
        raise ConfigurationError(
            f"source_directory: {directory} does not exist{hint}; "
            "give a directory that this process can see"
        )
    if not stat.S_ISDIR(mode):
        raise ConfigurationError(
            f"source_directory: {directory} is not a directory; "
            "give the directory that holds the script"
        )
    if script is not None:
        _check_script(directory, script)


def _check_script(directory: Path, script: str) -> None:
    path = directory / script
    mode = _find_mode(path, "script")
    if mode is None:
        similar = _find_similar(directory, script)
        remedy = (
            f"did you mean {' or '.join(similar)}?" if similar else "add it, or correct the path"
        )
        raise ConfigurationError(
            f"script: {script} is not in source_directory, {directory}; {remedy}"
        )
    if not stat.S_ISREG(mode):
        raise ConfigurationError(f"script: {path} is not a file; name the file to run")
    if not path.resolve().is_relative_to(directory.resolve()):
        raise ConfigurationError(
            f"script: {path} is a link to {path.resolve()}, outside source_directory; "
            "copy the file into the directory"
        )


def _find_mode(path: Path, key: str) -> int | None:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(f"{key}: {path} cannot be looked at: {error.strerror}") from error


def _find_similar(directory: Path, script: str) -> list[str]:
    files = list(islice(_list_files(directory), _FILES_LOOKED_AT))
    name = Path(script).name
    elsewhere = [file for file in files if Path(file).name == name]
    return elsewhere[:3] or get_close_matches(script, files, n=3)


def _list_files(directory: Path) -> Iterator[str]:
    for folder, subfolders, names in os.walk(directory):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            yield os.path.relpath(f"{folder}/{name}", directory)
