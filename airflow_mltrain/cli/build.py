"""`mltrain env build`: build an environment before a run needs it."""

from __future__ import annotations

import sys
from argparse import Namespace

from airflow_mltrain.cli.interrupt import interrupts_held
from airflow_mltrain.environments.check import ENVIRONMENTS_EXPERIMENT, environment_check
from airflow_mltrain.experiment import Experiment
from airflow_mltrain.run import Run
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.workspace import Workspace

_FAILED, _INTERRUPTED = 1, 130


def build_environment(arguments: Namespace) -> int:
    """Build it by a run of its own, with its log as it grows; an interrupt cancels that run."""
    workspace = Workspace.from_config()
    environment = workspace.get_environment(arguments.environment)
    config = environment_check(
        environment, arguments.target, prepare_timeout_seconds=arguments.prepare_timeout
    )
    run = None
    try:
        with interrupts_held():
            run = Experiment(workspace, ENVIRONMENTS_EXPERIMENT).submit(config)
        print(f"run {run.id} on {arguments.target}", flush=True)
        details = run.wait_for_completion(show_output=True, raise_on_error=False)
    except KeyboardInterrupt:
        if run is None:
            raise
        return _cancel(run)
    if details["status"] != RunStatus.COMPLETED:
        return _complain(f"run {run.id} {_describe_end(details['status'], details['error'])}")
    record = workspace.history.get(run.id)
    if record.environment_key is None:
        print(f"{arguments.environment} is used as it is on {arguments.target}: nothing to build")
    else:
        print(f"{arguments.environment} is ready on {arguments.target}: {record.environment_key}")
    return 0


def _cancel(run: Run) -> int:
    print(f"mltrain: canceling run {run.id}", file=sys.stderr, flush=True)
    try:
        run.cancel()
        status = run.wait_for_completion(raise_on_error=False)["status"]
    except KeyboardInterrupt:
        _complain(f"run {run.id} was asked to end, and is left to do so")
    else:
        _complain(f"run {run.id} {_describe_end(status, None)}")
    return _INTERRUPTED


def _describe_end(status: str, error: str | None) -> str:
    if status == RunStatus.CANCELED:
        return "was canceled"
    return f"ended as {status}" + (f": {error}" if error else "")


def _complain(message: str) -> int:
    print(f"mltrain: {message}", file=sys.stderr, flush=True)
    return _FAILED
