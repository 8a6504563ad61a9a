"""The states of a run."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.runs.status import RunStatus

STATUSES = st.sampled_from(list(RunStatus))
TERMINAL = [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED]
LIFE = [
    RunStatus.NOT_STARTED,
    RunStatus.PREPARING,
    RunStatus.QUEUED,
    RunStatus.RUNNING,
    RunStatus.FINALIZING,
    RunStatus.COMPLETED,
]


@given(end=st.sampled_from(TERMINAL), observed=STATUSES)
def test_no_status_leaves_a_terminal_state(end: RunStatus, observed: RunStatus) -> None:
    assert end.advanced_to(observed) is end


@given(status=STATUSES)
def test_completed_failed_and_canceled_are_the_ends(status: RunStatus) -> None:
    assert status.is_terminal == (status in TERMINAL)


@given(
    status=st.sampled_from([status for status in RunStatus if status not in TERMINAL]),
    end=st.sampled_from(TERMINAL),
)
def test_a_run_may_end_at_any_time(status: RunStatus, end: RunStatus) -> None:
    assert status.advanced_to(end) is end


@given(news=st.lists(st.sampled_from(LIFE[:-1])))
def test_news_in_any_order_leaves_a_run_at_its_furthest_state(news: list[RunStatus]) -> None:
    # when
    status = reduce(RunStatus.advanced_to, news, RunStatus.NOT_STARTED)

    # then
    assert status is max([RunStatus.NOT_STARTED, *news], key=LIFE.index)


@given(news=st.lists(STATUSES))
def test_a_status_heard_twice_is_the_same_news(news: list[RunStatus]) -> None:
    # given
    status = reduce(RunStatus.advanced_to, news, RunStatus.NOT_STARTED)

    # when / then
    assert status.advanced_to(status) is status


@pytest.mark.parametrize("late", [RunStatus.PREPARING, RunStatus.QUEUED, RunStatus.RUNNING])
def test_a_request_to_cancel_is_not_forgotten_while_the_run_works(late: RunStatus) -> None:
    assert RunStatus.CANCEL_REQUESTED.advanced_to(late) is RunStatus.CANCEL_REQUESTED


def test_a_status_reads_as_azure_ml_spells_it() -> None:
    assert str(RunStatus.NOT_STARTED) == "NotStarted"
    assert f"{RunStatus.CANCEL_REQUESTED}" == "CancelRequested"
    assert RunStatus("Completed") is RunStatus.COMPLETED
