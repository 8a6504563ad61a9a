"""A reference to an image, as `docker pull` takes it."""

from __future__ import annotations

import re
from typing import Final

from airflow_mltrain.config.text import is_template

_LONGEST_NAME: Final = 255
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?")
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SHAPE: Final = "such as 'python:3.12-slim' or 'registry.example.org:5000/team/train:1.4'"


def check_image_reference(reference: str) -> str:
    """Give `reference` back; raises ValueError unless it looks like one, or is a template."""
    if is_template(reference):
        return reference
    if "://" in reference:
        raise ValueError(f"it should begin with the registry's host, without https://, {_SHAPE}")
    if any(character.isspace() for character in reference):
        raise ValueError(f"it should have no spaces, {_SHAPE}")
    rest, at_sign, digest = reference.partition("@")
    if at_sign and not _DIGEST.fullmatch(digest):
        raise ValueError("its digest, behind the '@', should be sha256: and 64 digits from 0 to f")
    name, colon, tag = _split_tag(rest)
    if colon and not _TAG.fullmatch(tag):
        raise ValueError(
            "its tag, behind the last ':', should be 1 to 128 letters, digits, '_', '.' and '-', "
            "and begin with none of the last two"
        )
    _check_name(name)
    return reference


def _split_tag(rest: str) -> tuple[str, str, str]:
    """Name, colon and tag; a colon before the last slash belongs to the host's port."""
    folder, slash, last = rest.rpartition("/")
    base, colon, tag = last.partition(":")
    return f"{folder}{slash}{base}", colon, tag


def _check_name(name: str) -> None:
    host, path = _split_host(name)
    if host is not None and not _HOST.fullmatch(host):
        raise ValueError(f"its registry should be a host, or a host and a port, {_SHAPE}")
    if _PATH.fullmatch(path) and len(name) <= _LONGEST_NAME:
        return
    if _PATH.fullmatch(path.lower()) and path != path.lower():
        raise ValueError("its repository should be in lower case; only its tag may have capitals")
    raise ValueError(
        "its repository should be at most 255 lower-case letters and digits, with '.', '_', '-' "
        f"and '/' between them, {_SHAPE}"
    )


def _split_host(name: str) -> tuple[str | None, str]:
    """The registry's host, if the first part is one, as Docker tells them apart."""
    first, slash, path = name.partition("/")
    is_host = "." in first or ":" in first or first == "localhost" or first != first.lower()
    return (first, path) if slash and is_host else (None, name)
