"""`mltrain logs`: what a run has written, and what it goes on to write."""

from __future__ import annotations

from argparse import Namespace
from collections import deque
from contextlib import AbstractContextManager, nullcontext

from airflow_mltrain import progress
from airflow_mltrain.cli.quick_workspace import open_workspace, target_session
from airflow_mltrain.cli.screen import Screen
from airflow_mltrain.cli.watch import watch
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.workspace import Workspace

_LONGEST_LINE = 1 << 20


def show_log(arguments: Namespace) -> int:
    """Print a run's log byte for byte: all that there is, or with `follow` until its end."""
    workspace, screen = open_workspace(), Screen(is_terse=True)
    run = workspace.history.get(arguments.run_id)
    if run.parent_run_id is not None:
        run = workspace.history.find_submitted(run.run_id)
        screen.say(f"{arguments.run_id} is a child, and writes to the log of run {run.run_id}")
    with _session(run):
        _show_so_far(workspace, run.run_id, screen, arguments.tail)
        if arguments.follow and not workspace.history.get(run.run_id).status.is_terminal:
            watch(workspace, run.run_id, screen)
    screen.end()
    return 0


def _session(run: RunRecord) -> AbstractContextManager[None]:
    return nullcontext() if run.status.is_terminal else target_session(run.target)


def _show_so_far(workspace: Workspace, run_id: str, screen: Screen, tail: int | None) -> None:
    """Show what there is now, or its last lines."""
    last_lines = _LastLines(tail)
    for step in progress.follow(workspace, run_id, wait_seconds=0.0):
        if tail is None:
            screen.show_log(step.log)
        else:
            last_lines.feed(step.log)
        screen.log_position = step.log_position
        if not step.log:
            break
    screen.show_log(last_lines.text())


class _LastLines:
    """The last lines of what it is fed; of these only that much is kept in memory."""

    def __init__(self, count: int | None) -> None:
        self._lines: deque[bytes] = deque(maxlen=count)
        self._begun = b""

    def feed(self, content: bytes) -> None:
        *lines, begun = (self._begun + content).split(b"\n")
        self._begun = begun[-_LONGEST_LINE:]
        self._lines.extend(line + b"\n" for line in lines)

    def text(self) -> bytes:
        if self._begun and self._lines.maxlen:
            self._lines.append(self._begun)
        return b"".join(self._lines)
