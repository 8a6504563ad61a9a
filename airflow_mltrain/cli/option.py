"""Options that several commands take, and how their values are read."""

from __future__ import annotations

import math
from argparse import ArgumentParser, ArgumentTypeError
from typing import Final

_MOST_DAYS: Final = 100_000


def add_json(parser: ArgumentParser) -> None:
    """Take `--json`."""
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def add_environment(parser: ArgumentParser) -> None:
    """Take the name of an environment."""
    parser.add_argument("environment", metavar="NAME[:VERSION|@LABEL]", help="the environment")


def add_target(parser: ArgumentParser) -> None:
    """Take `--target`, which is `local` where it is not given."""
    parser.add_argument(
        "--target",
        metavar="NAME",
        default="local",
        help="the compute target: an Airflow connection id, or local (the default)",
    )


def read_seconds(text: str) -> int:
    """A whole number of seconds from 1."""
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is not a whole number of seconds from 1")
    return int(text)


def read_days(text: str) -> float:
    """A number of days from 0."""
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 0 <= days < _MOST_DAYS:
        raise ArgumentTypeError(f"{text!r} is not a number of days from 0")
    return days


def read_gigabytes(text: str) -> float:
    """A number of gigabytes from 0."""
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not 0 <= gigabytes < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number from 0")
    return gigabytes
