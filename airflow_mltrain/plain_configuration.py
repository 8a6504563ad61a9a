"""What airflow.cfg and the environment say, for a program that has no second to load Airflow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ParserError
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SECTIONS: Final = ("mltrain", "workers")
_LOOKED_UP: Final = ("_cmd", "_secret")


class _Parser(ConfigParser):
    """One that tells capital letters apart, as Airflow's does."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@dataclass(frozen=True)
class PlainConfiguration:
    """Options of a few sections; `get` and `getfloat` are those of Airflow's `conf`."""

    options: Mapping[tuple[str, str], str]

    def get(self, section: str, option: str, *, fallback: str) -> str:
        """The option's value."""
        return self.options.get((section, option), fallback)

    def getfloat(self, section: str, option: str, *, fallback: float) -> float:
        """The option's value as a number; ValueError where it is none."""
        return float(self.options.get((section, option), fallback))


def find_plain_configuration() -> PlainConfiguration | None:
    """The configuration as Airflow would read it; None where only Airflow can tell.

    That is where a value comes from a command or a secrets backend, where the database is a
    connection, and where something in the file is wrong, which Airflow explains.
    """
    try:
        options = {**_read_file(), **_read_variables()}
    except (ParserError, OSError, UnicodeError):
        return None
    database = options.get(("mltrain", "database"), "")
    is_plain = not any(option.endswith(_LOOKED_UP) for _, option in options)
    if not is_plain or (database and "://" not in database) or _is_unit_test():
        return None
    return PlainConfiguration(options)


def _read_file() -> dict[tuple[str, str], str]:
    home = os.environ.get("AIRFLOW_HOME", "~/airflow")
    path = Path(_expand(os.environ.get("AIRFLOW_CONFIG", f"{home}/airflow.cfg")))
    parser = _Parser()
    if path.exists():
        parser.read_string(path.read_text())
    return {
        (section, option): _expand(value)
        for section in _SECTIONS
        if parser.has_section(section)
        for option, value in parser.items(section)
    }


def _read_variables() -> dict[tuple[str, str], str]:
    prefixes = {f"AIRFLOW__{section.upper()}__": section for section in _SECTIONS}
    return {
        (section, name.removeprefix(prefix).lower()): _expand(value)
        for prefix, section in prefixes.items()
        for name, value in os.environ.items()
        if name.startswith(prefix)
    }


def _expand(text: str) -> str:
    """The text with variables and `~` replaced, again and again as Airflow does."""
    while (expanded := os.path.expanduser(os.path.expandvars(text))) != text:  # noqa: PTH111
        text = expanded
    return text


def _is_unit_test() -> bool:
    return "AIRFLOW__CORE__UNIT_TEST_MODE" in os.environ
