"""The experiment of a run, as its script sees it."""

from typing import Any


class Experiment:
    """A group of runs."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def workspace(self) -> Any:
        """Out of reach: it can be passed on, and says so where it is used."""
        from .absent import AbsentWorkspace  # noqa: PLC0415  # scripts for Azure ML ask

        return AbsentWorkspace()

    def __repr__(self) -> str:
        return "Experiment(name={!r})".format(self.name)
