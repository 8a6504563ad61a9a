from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_mltrain.errors import (
    ConfigurationError,
    RunHistoryUnavailableError,
    TargetUnreachableError,
    UnreachableTimeoutError,
)
from airflow_mltrain.silence import Backoff, Silence, check_unreachable_timeout

CUT = TargetUnreachableError("the cable is out")


class Bench:
    """A silence with a clock that goes when it is told to, and what was said of it."""

    def __init__(self, limit_seconds: float | None) -> None:
        self.now = 1000.0
        self.said: list[str] = []
        self.silence = Silence("churn_1", limit_seconds, self._say, clock=lambda: self.now)

    def fail_after(self, seconds: float, error: Exception = CUT) -> float:
        self.now += seconds
        return self.silence.note(error, "box")

    def answer_after(self, seconds: float) -> None:
        self.now += seconds
        self.silence.end()

    def _say(self, message: str, *arguments: object) -> None:
        self.said.append(message % arguments)


def test_a_day_of_silence_is_told_at_once_and_then_every_ten_minutes() -> None:
    # given
    bench = Bench(limit_seconds=None)

    # when
    for _ in range(24 * 3600 // 10 + 1):
        bench.fail_after(10)

    # then
    assert bench.said[0] == "run churn_1 goes on unobserved for now: the cable is out"
    assert bench.said[1] == "run churn_1: no answer for 10 min: the cable is out"
    assert len(bench.said) == 1 + 24 * 6


def test_an_answer_is_told_once_and_says_how_long_it_took() -> None:
    # given
    bench = Bench(limit_seconds=None)
    bench.fail_after(0)
    bench.fail_after(150)

    # when
    bench.answer_after(90)
    bench.answer_after(1)

    # then
    assert bench.said[1:] == ["run churn_1 is observed again, after 4 min"]


def test_the_limit_counts_from_the_first_failure_after_the_last_answer() -> None:
    # given
    bench = Bench(limit_seconds=100)
    bench.fail_after(0)
    bench.fail_after(99)
    bench.answer_after(0.5)

    # when
    pauses = [bench.fail_after(3600), bench.fail_after(99)]

    # then
    assert pauses[1] == pytest.approx(1)  # the last attempt is when the limit is reached
    with pytest.raises(UnreachableTimeoutError):
        bench.fail_after(1)


def test_a_wait_that_is_given_up_says_since_when_why_and_how_to_go_on() -> None:
    # given
    bench = Bench(limit_seconds=86400)
    bench.fail_after(0)

    # when
    with pytest.raises(UnreachableTimeoutError) as caught:
        bench.fail_after(86400)

    # then
    message = str(caught.value)
    assert "the wait for run churn_1 is given up, the run is not" in message
    assert "target 'box' has not answered since 20" in message
    assert "UTC (24 h). The last error: the cable is out." in message
    assert "TrainingRunSensor(run_id='churn_1')" in message
    assert "Run.get(workspace, 'churn_1').wait_for_completion()" in message
    assert caught.value.__cause__ is CUT


def test_a_silent_run_history_is_not_called_a_target() -> None:
    # given
    bench = Bench(limit_seconds=1)
    locked = RunHistoryUnavailableError("the database is locked")
    bench.fail_after(0, locked)

    # when / then
    with pytest.raises(UnreachableTimeoutError, match="the run history has not answered"):
        bench.fail_after(1, locked)


def test_without_a_limit_no_silence_is_too_long() -> None:
    # given
    bench = Bench(limit_seconds=None)
    bench.fail_after(0)

    # when
    pause = bench.fail_after(10**9)

    # then
    assert 0 < pause <= 30


def test_pauses_grow_from_a_second_to_half_a_minute() -> None:
    # given
    backoff = Backoff()

    # when
    pauses = [backoff.next_seconds() for _ in range(20)]
    backoff.reset()

    # then
    assert 1 <= pauses[0] <= 2
    assert all(15 <= pause <= 30 for pause in pauses[5:])
    assert len(set(pauses)) == len(pauses)
    assert backoff.next_seconds() <= 2


@pytest.mark.parametrize(
    ("given", "seconds"), [(None, None), (0, 0.0), (90, 90.0), (timedelta(hours=2), 7200.0)]
)
def test_a_limit_is_given_in_seconds_or_as_a_duration(
    given: timedelta | float | None, seconds: float | None
) -> None:
    assert check_unreachable_timeout(given) == seconds


@pytest.mark.parametrize("given", [-1, timedelta(seconds=-1), float("nan"), float("inf")])
def test_a_limit_that_is_no_duration_is_refused(given: timedelta | float) -> None:
    with pytest.raises(ConfigurationError, match="unreachable_timeout"):
        check_unreachable_timeout(given)
