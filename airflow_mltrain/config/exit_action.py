"""What may follow a failed run; a word that the run history reads, too, without the models."""

from __future__ import annotations

from enum import Enum


class ExitAction(str, Enum):
    """What follows a run whose script has failed."""

    RETRY = "retry"  # as Airflow retries a task
    FAIL = "fail"
    SKIP = "skip"
    PREEMPTED = "preempted"  # the run goes on in another one

    __str__ = str.__str__
