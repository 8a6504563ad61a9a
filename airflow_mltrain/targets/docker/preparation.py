"""What an engine says while it pulls, builds or pushes, for whoever waits for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

from docker.errors import APIError

from airflow_mltrain.targets.base import Preparation, PreparationGivenUpError
from airflow_mltrain.targets.docker.failure import words_of

_LOOK_SECONDS: Final = 0.5
_PASSING: Final = ("Downloading", "Extracting", "Pushing", "Waiting", "Buffering")


class QuietPreparation:
    """For who waits without a word."""

    def say(self, words: bytes) -> None:
        """As `Preparation` says."""

    def is_given_up(self) -> bool:
        """As `Preparation` says."""
        return False


QUIET: Final = QuietPreparation()


class Narrated:
    """Steps that an engine tells as it goes; `run` tells them on, to their end.

    They are read by a thread of their own: an engine may say nothing for an hour, and whoever
    waits may give up meanwhile. It is then left with the stream, which ends with this process.
    """

    def __init__(self, steps: Iterator[Mapping[str, Any]], preparation: Preparation) -> None:
        self._steps = steps
        self._preparation = preparation
        self._told: queue.Queue[Mapping[str, Any] | Exception | None] = queue.Queue(1000)

    def run(self) -> str | None:
        """Why the engine failed, if it did; PreparationGivenUpError."""
        threading.Thread(target=self._read, name="mltrain-engine", daemon=True).start()
        fault = None
        while True:
            if self._preparation.is_given_up():
                raise PreparationGivenUpError
            try:
                step = self._told.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            if step is None:
                return fault
            if isinstance(step, Exception):
                raise step
            if "error" in step:
                fault = " ".join(str(step["error"]).split())
            words = _words_of_step(step)
            if words:
                self._preparation.say(words.encode(errors="replace"))

    def _read(self) -> None:
        try:
            for step in self._steps:
                self._told.put(step)
        except APIError as error:  # of what was asked, such as a Dockerfile that is none
            self._told.put({"error": words_of(error)})
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            self._told.put(error)
            return
        self._told.put(None)


def _words_of_step(step: Mapping[str, Any]) -> str:
    """A step as lines for a log; nothing where it only says how far it is."""
    if "stream" in step:
        return str(step["stream"])
    if "error" in step:
        return f"{str(step['error']).strip()}\n"
    status = str(step.get("status", ""))
    if not status or status.startswith(_PASSING):
        return ""
    identity = f"{step['id']}: " if step.get("id") else ""
    return f"{identity}{status}\n"
