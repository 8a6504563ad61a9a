"""What was found out about a compute target, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

# Of each, the first that there is.
_SHOWN_SUBJECTS: Final = (("login", "account", "engine"), ("python", "image"), ("disk space",))


class FindingLevel(str, Enum):
    """What a finding means for jobs; equal to its name as a plain string."""

    OK = "ok"
    WARNING = "warning"  # jobs run, and some of them may not do well
    FAULT = "fault"  # jobs cannot run

    __str__ = str.__str__


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `remedy` says what to do where it is not ok."""

    subject: str
    level: FindingLevel
    text: str
    remedy: str | None = None


def has_fault(findings: Sequence[Finding]) -> bool:
    """Whether something has to be mended before jobs can run."""
    return any(one.level is FindingLevel.FAULT for one in findings)


def unreachable(error: Exception) -> Finding:
    """The one finding about a target that could not be looked at; its words say what to do."""
    return Finding("connection", FindingLevel.FAULT, " ".join(str(error).split()), None)


def summarize(findings: Sequence[Finding]) -> str:
    """Findings in a few sentences: the faults where there are any, else what matters most."""
    if has_fault(findings):
        return "; ".join(_full(one) for one in findings if one.level is FindingLevel.FAULT)
    texts = {one.subject: one.text for one in findings}
    told = [[texts[one] for one in subjects if one in texts] for subjects in _SHOWN_SUBJECTS]
    shown = [first for first, *_ in filter(None, told)]
    warnings = [_full(one) for one in findings if one.level is FindingLevel.WARNING]
    return ". ".join(["; ".join(shown), *(f"Warning: {warning}" for warning in warnings)])


def _full(finding: Finding) -> str:
    told = f"{finding.subject}: {finding.text}"
    return told if finding.remedy is None else f"{told} (to do: {finding.remedy})"
