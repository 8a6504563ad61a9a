"""Packages and channels as conda writes them."""

from __future__ import annotations

import re

from airflow_mltrain.config.text import is_template

_PACKAGE = re.compile(
    r"(?P<channel>[A-Za-z0-9][A-Za-z0-9_./-]*::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)"
    r"(?P<rest>\s*[=<>!~].*|\s+[0-9*].*|\s*\[.*\])?"
)
_CHANNEL = re.compile(r"https?://[^\s@?#]+|[A-Za-z0-9][A-Za-z0-9_./-]*")
_EXACT_VERSION = re.compile(r"(\s*={1,2}\s*|\s+)(?P<version>[0-9]+\.[0-9]+(\.[0-9]+)?)(\.\*)?")


def check_conda_package(text: str) -> str:
    """Give `text` back; raises ValueError unless it is a package as conda takes it."""
    if is_template(text):
        return text
    if not text.isprintable() or not _PACKAGE.fullmatch(text.strip()):
        raise ValueError(
            "it should be a package as conda takes it, such as 'numpy=1.26' or "
            "'conda-forge::libgcc>=13'"
        )
    return text.strip()


def check_channel(text: str) -> str:
    """Give `text` back; raises ValueError unless it is a channel that holds no secret."""
    if is_template(text):
        return text
    if re.search(r"/t/[^/]+", text) or re.match(r"[^/]*//[^/]*@", text):
        raise ValueError(
            "it should have no credentials; give conda its own on the compute target, in .condarc"
        )
    if not _CHANNEL.fullmatch(text):
        raise ValueError("it should be the name of a channel, or its URL")
    return text


def find_name(text: str) -> str:
    """The name of the package that `text` asks for."""
    match = _PACKAGE.fullmatch(text.strip())
    return match["name"].lower() if match else ""


def find_exact_version(text: str) -> str | None:
    """The version 3.x or 3.x.y that `text` asks for exactly, from whatever channel; else None."""
    match = _PACKAGE.fullmatch(text.strip())
    exact = match and _EXACT_VERSION.fullmatch(match["rest"] or "")
    return exact["version"] if exact else None


def is_any_version(text: str) -> bool:
    """Whether `text` is a name, perhaps in a channel, and nothing else."""
    match = _PACKAGE.fullmatch(text.strip())
    return match is not None and not match["rest"]


def names_channel(text: str) -> bool:
    """Whether `text` says which channel its package has to come from."""
    match = _PACKAGE.fullmatch(text.strip())
    return match is not None and bool(match["channel"])
