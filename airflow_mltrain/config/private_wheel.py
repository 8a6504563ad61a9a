"""A wheel of one's own: a package that no index has."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from airflow_mltrain.config.requirement import WHEEL_SCHEME
from airflow_mltrain.errors import ConfigurationError

_METADATA = re.compile(r"([^/]+?)-[^/-]+\.dist-info/METADATA")


def find_wheel_name(path: Path) -> str:
    """The name of the package in a wheel; raises ConfigurationError where it is no wheel."""
    try:
        name = parse_wheel_filename(path.name)[0]
    except InvalidWheelFilename:
        raise ConfigurationError(
            f"{path} is not named as a wheel is, such as 'mine-1.0-py3-none-any.whl'; build one "
            "with 'python -m build --wheel', or 'pip wheel --no-deps FOLDER'"
        ) from None
    try:
        with zipfile.ZipFile(path) as wheel:
            members = wheel.namelist()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except zipfile.BadZipFile:
        members = []
    inside = [found[1] for member in members if (found := _METADATA.fullmatch(member))]
    if not inside:
        raise ConfigurationError(f"{path} has the name of a wheel and is none; build it again")
    if canonicalize_name(inside[0]) != name:
        raise ConfigurationError(
            f"{path} holds the package {inside[0]}, and installers refuse a wheel under another "
            "name; give the file back the name it was built with"
        )
    return name


def write_reference(name: str, digest: str, filename: str) -> str:
    """What stands for a stored wheel among the packages of an environment."""
    return f"{name} @ {WHEEL_SCHEME}:{digest}/{filename}"
