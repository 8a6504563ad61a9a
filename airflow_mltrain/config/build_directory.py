"""Whether a directory that an image is built from, with its Dockerfile, is where the user said."""

from __future__ import annotations

import stat
from pathlib import Path

from airflow_mltrain.config.dockerfile import read_dockerfile
from airflow_mltrain.errors import ConfigurationError


def check_build_directory(directory: Path, dockerfile_path: str) -> None:
    """Raise ConfigurationError unless the directory exists and holds that Dockerfile."""
    mode = _find_mode(directory)
    if mode is None:
        hint = ", and ~ is not expanded" if str(directory).startswith("~") else ""
        raise ConfigurationError(
            f"build context: {directory.absolute()} does not exist{hint}; "
            "give a directory that this process can see"
        )
    if not stat.S_ISDIR(mode):
        raise ConfigurationError(
            f"build context: {directory.absolute()} is not a directory; give the directory that "
            "the Dockerfile and what it copies lie in"
        )
    _check_file(directory.absolute(), dockerfile_path)


def _check_file(directory: Path, dockerfile_path: str) -> None:
    path = directory / dockerfile_path
    mode = _find_mode(path)
    if mode is None:
        raise ConfigurationError(
            f"build context: {dockerfile_path} is not in {directory}; add it, or say with "
            "dockerfile_path where in the directory the Dockerfile is"
        )
    if not stat.S_ISREG(mode):
        raise ConfigurationError(f"build context: {path} is not a file; name the Dockerfile")
    if not path.resolve().is_relative_to(directory.resolve()):
        raise ConfigurationError(
            f"build context: {path} is a link to {path.resolve()}, outside the directory; "
            "copy the file into it"
        )
    read_dockerfile(path)


def _find_mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(
            f"build context: {path} cannot be looked at: {error.strerror}; let this user read it"
        ) from error
