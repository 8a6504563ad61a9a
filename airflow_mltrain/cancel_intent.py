"""Whether the end of a wait means the end of the run."""

from __future__ import annotations

_GIVEN_UP = frozenset({"failed", "removed"})
_GIVEN_UP_BY_OWNER = _GIVEN_UP | {"success", "skipped", "upstream_failed", "restarting", None}


def is_cancel_meant(task_state: str | None, *, is_owner: bool) -> bool:
    """Whether a task that was told to stop takes its run along, by the state Airflow has for it.

    A task that is still to run, here, elsewhere or again, adopts the run: a deploy, a restart and
    a moved trigger are not a cancel. A task that was marked failed cancels it. One that submitted
    the run (`is_owner`) also does so when it was marked success or skipped, or cleared; one that
    merely waits for it leaves it alone then.
    """
    return task_state in (_GIVEN_UP_BY_OWNER if is_owner else _GIVEN_UP)
