"""`mltrain cancel`: end runs, with every process that they started."""

from __future__ import annotations

import sys
from argparse import Namespace

from airflow_mltrain import submission
from airflow_mltrain.cli.quick_workspace import open_workspace, target_session
from airflow_mltrain.cli.screen import Screen, describe_end
from airflow_mltrain.cli.terminal_text import printable_lines
from airflow_mltrain.cli.watch import cancel_and_watch
from airflow_mltrain.errors import MLTrainError
from airflow_mltrain.preemption import find_last
from airflow_mltrain.runs.exit_action import is_preempted
from airflow_mltrain.workspace import Workspace

_FAILED = 1


def cancel_runs(arguments: Namespace) -> int:
    """Ask for the end of each run and see it gone; 1 where one of them could not be asked."""
    workspace = open_workspace()
    exit_code = 0
    for run_id in arguments.run_ids:
        try:
            print(_cancel(workspace, run_id, is_seen_to=not arguments.no_wait), flush=True)
        except MLTrainError as error:
            print(f"mltrain: {printable_lines(str(error))}", file=sys.stderr, flush=True)
            exit_code = _FAILED
    return exit_code


def _cancel(workspace: Workspace, run_id: str, *, is_seen_to: bool) -> str:
    record = find_last(workspace, workspace.history.get(run_id))
    if record.status.is_terminal and not is_preempted(record):
        return f"run {record.run_id} has ended before: {record.status}"
    last_id = record.run_id
    with target_session(record.target):
        if record.status.is_terminal:
            submission.cancel(workspace, last_id)
            return f"run {last_id} goes on no longer"
        if is_seen_to:
            record = cancel_and_watch(
                workspace, last_id, Screen(is_terse=True), is_log_shown=False
            )
        else:
            record = submission.cancel(workspace, last_id)
    if record.status.is_terminal:
        return printable_lines(describe_end(record))
    return f"run {last_id} was asked to end"
