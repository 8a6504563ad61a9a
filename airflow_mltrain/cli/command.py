"""A command of the program."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command; what carries it out is imported when it is asked for."""

    words: str
    summary: str
    define: Callable[[ArgumentParser], None]
    home: str  # module:function; the function takes the arguments and returns the exit code
    is_quick: bool = False  # it loads Airflow itself, where it has to

    @property
    def group(self) -> str:
        """The group that it belongs to; empty where it stands for itself."""
        return self.words.rpartition(" ")[0]

    @property
    def word(self) -> str:
        """Its name in that group."""
        return self.words.rpartition(" ")[2]
