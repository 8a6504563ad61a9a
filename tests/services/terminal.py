"""The program `mltrain` as a person starts it, also at a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.services.patience import PATIENCE_SECONDS

MLTRAIN = [sys.executable, "-m", "airflow_mltrain.cli"]


@contextmanager
def at_terminal(*words: str, directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The program with a terminal for all it says; yields it, and what reads that terminal."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [*MLTRAIN, *words],
            cwd=directory,
            env={**os.environ, "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        ) as program:
            os.close(theirs)
            yield program, ours
    finally:
        os.close(ours)


def read_until(terminal: int, pattern: str) -> str:
    """What the terminal shows until it is as the pattern; AssertionError where it never is."""
    shown = b""
    while not re.search(pattern.encode(), shown):
        try:
            is_ready = select.select([terminal], [], [], PATIENCE_SECONDS)[0]
            piece = os.read(terminal, 65536) if is_ready else b""
        except OSError:  # the program has ended
            piece = b""
        assert piece, f"{pattern!r} was not shown in {shown!r}"
        shown += piece
    return shown.decode()


def read_rest(terminal: int) -> str:
    """What the terminal shows until the program ends."""
    shown = b""
    with suppress(OSError):
        while piece := os.read(terminal, 65536):
            shown += piece
    return shown.decode()


def what_remains(shown: str) -> list[str]:
    """The lines that are to be seen in the end, of which some were drawn over."""
    lines = shown.replace("\r\n", "\n").split("\n")
    return [line.rpartition("\r\x1b[0m\x1b[K")[2] for line in lines]
