"""A job's state as a script may have spoilt it: its own job ends, and no other is hidden by it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.runtime.job_agent import process
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.runtime.job_agent.job_state import read_job_state
from airflow_mltrain.targets.base import Seen
from airflow_mltrain.targets.local import LocalTarget
from airflow_mltrain.targets.machine import job_state

_ENDED: dict[str, Any] = {
    "status": "Completed",
    "supervisor": process.identity(),
    "exit_code": 0,
    "log_bytes": 0,
    "metrics_bytes": 0,
}
_odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
) | st.sampled_from([2**70, -(2**70), 1e18, "Completed", "Odd", {"pid": 1, "boot_id": "b"}])
_names = st.sampled_from(
    [*_ENDED, "reason", "started_at", "ended_at", "environment_key", "environment_digest"]
)


@pytest.mark.parametrize("status", sorted(set(RunStatus) - {RunStatus.NOT_STARTED}))
def test_every_status_of_a_job_is_told(status: RunStatus) -> None:
    # when
    state = read_job_state(json.dumps({**_ENDED, "status": str(status)}).encode())

    # then
    assert state == {**_ENDED, "status": str(status)}


@given(odd=st.dictionaries(_names, _odd, max_size=3))
def test_a_state_is_refused_or_can_be_told(odd: dict[str, Any]) -> None:
    # when
    state = read_job_state(json.dumps({**_ENDED, **odd}).encode())

    # then
    if state is not None:
        told = job_state({**state, "log": b"", "metrics": b""})
        assert told.status == state["status"]
        assert process.is_alive(state["supervisor"]) in {True, False}


@given(content=st.binary(max_size=60) | st.text('[{"1,:}]', max_size=60).map(str.encode))
def test_what_is_no_state_is_refused(content: bytes) -> None:
    # when
    state = read_job_state(content)

    # then
    assert state is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"[" * 100_000),
        lambda path: path.write_text(json.dumps({**_ENDED, "status": "Odd"})),
        lambda path: path.write_text(json.dumps({**_ENDED, "started_at": "noon"})),
        lambda path: path.write_text(
            json.dumps({"status": "Running", "supervisor": {"boot_id": process.boot_id()}})
        ),
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
    ],
    ids=["nested", "status", "instant", "supervisor", "pipe", "endless"],
)
def test_a_spoilt_state_ends_its_own_job_and_hides_no_other(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    # given
    spoilt, other = JobFolder(str(tmp_path), "spoilt"), JobFolder(str(tmp_path), "other")
    spoilt.create()
    other.create()
    spoil(Path(spoilt.state))
    other.write_state(_ENDED)

    # when
    states = LocalTarget("local", tmp_path).observe({"spoilt": Seen(), "other": Seen()}, 0.0)

    # then
    assert (states["spoilt"].status, states["other"].status) == (
        RunStatus.FAILED,
        RunStatus.COMPLETED,
    )
