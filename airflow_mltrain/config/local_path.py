"""A path on this machine, as a user gives it to a method."""

from __future__ import annotations

import os
from pathlib import Path

from airflow_mltrain.config.fault import describe
from airflow_mltrain.errors import ConfigurationError


def read_path(given: object) -> Path:
    """The path that text or a path object names; raises ConfigurationError where it is none."""
    try:
        path = Path(os.fspath(given))  # type: ignore[call-overload] # the TypeError is meant
        if b"\0" not in os.fsencode(path):
            return path
    except (TypeError, UnicodeEncodeError):
        pass
    raise ConfigurationError(f"{describe(given)} was given; it should be the path of a file")
