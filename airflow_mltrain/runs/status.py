"""The states of a run."""

from __future__ import annotations

from enum import Enum


class RunStatus(str, Enum):
    """Where a run stands; equal to its name as a plain string, as Azure ML spells it."""

    NOT_STARTED = "NotStarted"
    PREPARING = "Preparing"
    QUEUED = "Queued"
    RUNNING = "Running"
    CANCEL_REQUESTED = "CancelRequested"
    FINALIZING = "Finalizing"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"

    __str__ = str.__str__

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended; no status leaves such a state."""
        return self in _TERMINAL

    def advanced_to(self, observed: RunStatus) -> RunStatus:
        """The status after `observed` was seen; late news of an earlier state changes nothing.

        CancelRequested outlasts every working state, for only an end answers it.
        """
        if self.is_terminal or _ORDER[observed] < _ORDER[self]:
            return self
        return observed


_TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED})
_ORDER = {status: rank for rank, status in enumerate(RunStatus)}
