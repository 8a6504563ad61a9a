from __future__ import annotations

import pytest

from airflow_mltrain.cancel_intent import is_cancel_meant


@pytest.mark.parametrize("state", ["running", "deferred", "up_for_retry", "queued", "scheduled"])
@pytest.mark.parametrize("is_owner", [True, False])
def test_a_task_that_is_still_to_run_keeps_its_run(state: str, *, is_owner: bool) -> None:
    assert not is_cancel_meant(state, is_owner=is_owner)


@pytest.mark.parametrize("is_owner", [True, False])
def test_a_task_marked_failed_takes_its_run_along(*, is_owner: bool) -> None:
    assert is_cancel_meant("failed", is_owner=is_owner)


@pytest.mark.parametrize("state", ["success", "skipped", "restarting", None])
def test_only_the_task_that_submitted_a_run_ends_it_otherwise(state: str | None) -> None:
    assert is_cancel_meant(state, is_owner=True)
    assert not is_cancel_meant(state, is_owner=False)
