"""A Dockerfile: its text, and where it lies in the directory that an image is built from."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from airflow_mltrain.config.small_file import read_small
from airflow_mltrain.config.text import is_template
from airflow_mltrain.errors import ConfigurationError

_FROM = re.compile(r"^[ \t]*FROM[ \t]+\S", re.IGNORECASE | re.MULTILINE)
_IS_TEXT = re.compile(r"\s*FROM\s|.*\n", re.IGNORECASE)


def check_dockerfile(text: str) -> str:
    """Give the text of a Dockerfile back; raises ValueError where nothing begins an image."""
    if not is_template(text) and not _FROM.search(text):
        raise ValueError(
            "it should have a FROM, the image that it begins with, such as 'FROM python:3.12'"
        )
    return text


def check_dockerfile_path(given: str) -> str:
    """The path of a Dockerfile inside its directory; raises ValueError where it leads out."""
    if is_template(given):
        return given
    path = PurePosixPath(given)
    if path.is_absolute():
        raise ValueError("it should be relative to the directory that the image is built from")
    if ".." in path.parts:
        raise ValueError("it should lie inside the directory, without '..'")
    if not path.parts:
        raise ValueError("it should name a file, such as 'Dockerfile'")
    return str(path)


def find_dockerfile_text(given: object) -> str | None:
    """What was given, if it is the text of a Dockerfile; None if it can only be a path."""
    return given if isinstance(given, str) and _IS_TEXT.match(given) else None


def read_dockerfile(path: Path) -> str:
    """The text of a Dockerfile; raises ConfigurationError, which names the file."""
    try:
        text = read_small(path).decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(
            f"Dockerfile: {path} cannot be read: {error.strerror}; give the path of a Dockerfile, "
            "or its text"
        ) from error
    except ValueError:
        raise ConfigurationError(f"Dockerfile: {path} is not text in UTF-8") from None
    try:
        return check_dockerfile(text)
    except ValueError as error:
        raise ConfigurationError(f"Dockerfile: {path}: {error}") from None
