"""What the end of a run means to whoever waits for it, by the exit codes in its config."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from airflow_mltrain.config.exit_action import ExitAction
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus

LIMIT_PROPERTY: Final = "mltrain.stopped_for"  # the limit of its config that the run outlasted
CANCEL_PROPERTY: Final = "mltrain.cancel_requested"
_SUCCESSOR_ID: Final = re.compile(r"(.+)-p([0-9]+)")


def exit_action(run: RunRecord) -> ExitAction:
    """What follows a run that has failed.

    An exit code counts where the script left it by itself, or was made to by somebody else than
    its run: one that outlasted a limit of its config has failed, whatever it said at last.
    """
    if run.exit_code is None or LIMIT_PROPERTY in run.properties:
        return ExitAction.RETRY
    return ExitAction(_policy(run).get(str(run.exit_code), ExitAction.RETRY))


def is_preempted(run: RunRecord) -> bool:
    """Whether a run is to go on in another one, which it may do only so often."""
    return (
        run.status is RunStatus.FAILED
        and exit_action(run) is ExitAction.PREEMPTED
        and CANCEL_PROPERTY not in run.properties
        and count_preemptions(run) < most_preemptions(run)
    )


def can_be_preempted(run: RunRecord) -> bool:
    """Whether any end of it could be a preemption."""
    return ExitAction.PREEMPTED in _policy(run).values()


def most_preemptions(run: RunRecord) -> int:
    """How often it may go on in another run before that is a failure."""
    return int(_run_config(run).get("max_preemptions", 0))


def count_preemptions(run: RunRecord) -> int:
    """How many preempted runs it goes on from, one after another; its id tells."""
    found = _SUCCESSOR_ID.fullmatch(run.run_id)
    return int(found[2]) if found else 0


def successor_id(run: RunRecord) -> str:
    """The id of the run that goes on from it, the same for all who ask."""
    found = _SUCCESSOR_ID.fullmatch(run.run_id)
    return f"{found[1] if found else run.run_id}-p{count_preemptions(run) + 1}"


def _policy(run: RunRecord) -> Mapping[str, str]:
    return _run_config(run).get("exit_code_policy") or {}


def _run_config(run: RunRecord) -> Mapping[str, Any]:
    return run.config.get("run_config") or {}
