"""The text of a job's state as it is read back: a script can reach it, and may have spoilt it."""

import json
from typing import Any, Callable, Dict, Optional

_ALIVE = ("Preparing", "Queued", "Running", "Finalizing", "CancelRequested")
_STATUSES = (*_ALIVE, "Completed", "Failed", "Canceled")
_NAMES = ("boot_id", "pid_namespace", "start_time")  # of a supervisor
_MOST_SECONDS = 2.0**37  # about the year 6300: what every clock and database can show
_MOST_EXIT_CODE, _MOST_BYTES = 2**31, 2**62


def read_job_state(content: bytes) -> Optional[Dict[str, Any]]:
    """The state that the text says; None where it is none that a supervisor writes."""
    try:
        state = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return state if isinstance(state, dict) and _is_sound(state) else None


def _is_sound(state: Dict[str, Any]) -> bool:
    supervisor = state.get("supervisor")
    return (
        state.get("status") in _STATUSES
        and isinstance(supervisor, dict)
        and type(supervisor.get("pid")) is int
        and all(isinstance(supervisor.get(name), str) for name in _NAMES)
        and all(is_fit(state[name]) for name, is_fit in _FACTS.items() if name in state)
    )


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_number(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value < _MOST_BYTES)


def _is_duration(value: object) -> bool:
    return value is None or (_is_instant(value) and bool(value))


def _is_exit_code(value: object) -> bool:
    return value is None or (type(value) is int and abs(value) < _MOST_EXIT_CODE)


def _is_instant(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, (int, float)) and 0 <= value < _MOST_SECONDS  # which NaN is not


_FACTS: Dict[str, Callable[[object], bool]] = {
    "exit_code": _is_exit_code,
    "lease_seconds": _is_duration,
    "reason": _is_text,
    "limit": _is_text,
    "started_at": _is_instant,
    "ended_at": _is_instant,
    "log_bytes": _is_number,
    "metrics_bytes": _is_number,
    "environment_key": _is_text,
    "environment_digest": _is_text,
}
