"""What a person sees of a run that goes on: its log, and below it a line of how it stands."""

from __future__ import annotations

import os
import sys
import time
from typing import Final

from airflow_mltrain.cli.table import render_duration
from airflow_mltrain.cli.terminal_text import clip, printable, printable_lines
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus

_CLEAR_LINE: Final = "\r\x1b[0m\x1b[K"
_NARROWEST: Final = 20


class Screen:
    """The log goes to standard output byte for byte, everything else to standard error.

    Where that is a terminal, the last line tells status and time and is drawn over; otherwise each
    new status is a line, unless `is_terse`.
    """

    def __init__(self, *, is_terse: bool = False) -> None:
        self._is_terse = is_terse
        sys.stdout.flush()
        self._log = sys.stdout.buffer
        self._words = sys.stderr
        self._is_live = self._words.isatty() and os.environ.get("TERM") != "dumb"
        self._is_log_here = self._is_live and sys.stdout.isatty()
        self.log_position = 0  # how many bytes of the run's log were shown
        self._is_at_start = True  # of a line, as far as the log goes
        self._status: str | None = None
        self._since = time.monotonic()
        self._is_drawn = False

    def show_log(self, content: bytes) -> None:
        """Pass a piece of the log on, as it is."""
        if not content:
            return
        if self._is_log_here:
            self._erase()
            self._is_at_start = content.endswith(b"\n")
        self._log.write(content)
        self._log.flush()

    def show_status(self, record: RunRecord) -> None:
        """Tell how the run stands; may be called as often as one likes."""
        if record.status != self._status:
            self._status, self._since = record.status, time.monotonic()
            if not (self._is_live or self._is_terse or record.status.is_terminal):
                self.say(f"run {record.run_id} is {record.status}")
        if self._is_live and not record.status.is_terminal:
            self._draw(f"{record.status} on {record.target}, {self._elapsed()}")

    def say(self, text: str) -> None:
        """Tell something below the log, on lines of its own."""
        self.end()
        print(f"mltrain: {printable_lines(text)}", file=self._words, flush=True)

    def warn(self, message: str, *arguments: object) -> None:
        """Tell a warning, given as a logger takes it."""
        self.say(message % arguments)

    def end(self) -> None:
        """Leave the terminal as it should be."""
        self._erase()
        if not self._is_at_start:
            print(file=self._words, flush=True)
            self._is_at_start = True

    def _draw(self, line: str) -> None:
        if not self._is_at_start:
            return  # the script is in the middle of a line of its own
        try:
            columns = os.get_terminal_size(self._words.fileno()).columns
        except OSError:
            columns = 0
        line = clip(printable(line), max(columns or 80, _NARROWEST) - 1)
        self._words.write(f"{_CLEAR_LINE}{line}")
        self._words.flush()
        self._is_drawn = True

    def _erase(self) -> None:
        if self._is_drawn:
            self._words.write(_CLEAR_LINE)
            self._words.flush()
            self._is_drawn = False

    def _elapsed(self) -> str:
        return render_duration(round(time.monotonic() - self._since))


def describe_end(record: RunRecord) -> str:
    """How a run ended, and why."""
    if record.status is RunStatus.COMPLETED:
        return f"run {record.run_id} is Completed"
    if record.status is RunStatus.CANCELED:
        return f"run {record.run_id} was canceled"
    return f"run {record.run_id} ended as {record.status}: {record.error}"
