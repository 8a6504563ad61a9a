"""Findings in a few words, as the Test button of a connection shows them."""

from __future__ import annotations

from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.targets.finding import (
    Finding,
    FindingLevel,
    has_fault,
    summarize,
    unreachable,
)

_FINE = (
    Finding("login", FindingLevel.OK, "alice on gpu-7", None),
    Finding("account", FindingLevel.OK, "alice (uid 1001)", None),
    Finding("sshd", FindingLevel.OK, "MaxSessions 10", None),
    Finding("python", FindingLevel.OK, "Python 3.11.2", None),
    Finding("disk space", FindingLevel.OK, "512.0 GB free", None),
)
_SLOW = Finding("clock", FindingLevel.WARNING, "a day ahead", "set it")
_BROKEN = Finding("programs", FindingLevel.FAULT, "cannot run", "mount it anew")


def test_a_target_in_order_is_told_by_what_matters_most() -> None:
    assert summarize(_FINE) == "alice on gpu-7; Python 3.11.2; 512.0 GB free"


def test_a_warning_is_told_with_what_to_do() -> None:
    # when
    words = summarize([*_FINE, _SLOW])

    # then
    assert words.endswith("512.0 GB free. Warning: clock: a day ahead (to do: set it)")


def test_where_there_is_a_fault_only_faults_are_told() -> None:
    # when
    words = summarize([*_FINE, _SLOW, _BROKEN])

    # then
    assert words == "programs: cannot run (to do: mount it anew)"


def test_a_warning_is_no_fault() -> None:
    assert not has_fault([*_FINE, _SLOW])
    assert has_fault([_SLOW, _BROKEN])


def test_a_target_that_does_not_answer_is_a_fault_in_the_words_of_the_error() -> None:
    # when
    finding = unreachable(TargetUnreachableError("gpu_box does not answer:\n  is it on?"))

    # then
    assert finding.level is FindingLevel.FAULT
    assert finding.text == "gpu_box does not answer: is it on?"
