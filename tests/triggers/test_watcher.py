from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_mltrain import progress, submission
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.base import JobState, Seen
from airflow_mltrain.triggers.watcher import TargetWatcher
from airflow_mltrain.workspace import Workspace
from tests.fakes.flaky_target import FlakyTarget

Submit = Callable[[str], str]


@pytest.fixture
def workspace(settings: Settings) -> Workspace:
    return Workspace(settings)


@pytest.fixture
def submit(workspace: Workspace, tmp_path: Path) -> Submit:
    (tmp_path / "project").mkdir()

    def submit_command(command: str) -> str:
        config = ScriptRunConfig(tmp_path / "project", command=["sh", "-c", command])
        return submission.submit(workspace, "watched", config).run_id

    return submit_command


async def until_ended(watcher: TargetWatcher, run_id: str) -> JobState | None:
    state = await watcher.next_state(run_id, Seen())
    while state is not None and not state.status.is_terminal:
        state = await watcher.next_state(run_id, Seen(state.status, len(state.log)))
    return state


def test_many_runs_share_one_exchange(workspace: Workspace, submit: Submit) -> None:
    run_ids = [submit("sleep 1") for _ in range(5)]
    target = FlakyTarget(workspace.get_target("local"), [])

    async def watch() -> list[JobState | None]:
        watcher = TargetWatcher(target)
        return await asyncio.gather(*(until_ended(watcher, run_id) for run_id in run_ids))

    states = asyncio.run(watch())

    assert {state.status for state in states if state} == {RunStatus.COMPLETED}
    assert set(run_ids) in target.exchanges


def test_a_run_that_is_watched_twice_is_seen_by_both(workspace: Workspace, submit: Submit) -> None:
    run_id = submit("echo one; sleep 0.3; echo two")

    async def watch() -> list[JobState | None]:
        watcher = TargetWatcher(workspace.get_target("local"))
        return await asyncio.gather(*(until_ended(watcher, run_id) for _ in range(2)))

    states = asyncio.run(watch())

    assert [state.status for state in states if state] == [RunStatus.COMPLETED] * 2


def test_a_run_nobody_started_is_unknown(workspace: Workspace) -> None:
    async def watch() -> JobState | None:
        return await TargetWatcher(workspace.get_target("local")).next_state("nobody_s", Seen())

    assert asyncio.run(watch()) is None


@pytest.mark.parametrize("fault", [TargetUnreachableError("cut"), RuntimeError("odd")])
def test_a_fault_reaches_every_waiter_and_the_watcher_goes_on(
    workspace: Workspace, submit: Submit, fault: Exception
) -> None:
    run_ids = [submit("sleep 0.5"), submit("sleep 0.5")]
    target = FlakyTarget(workspace.get_target("local"), [fault])

    async def watch() -> tuple[list[object], JobState | None]:
        watcher = TargetWatcher(target)
        first = await asyncio.gather(
            *(watcher.next_state(run_id, Seen()) for run_id in run_ids), return_exceptions=True
        )
        return list(first), await until_ended(watcher, run_ids[0])

    faults, state = asyncio.run(watch())

    assert faults == [fault, fault]
    assert state is not None
    assert state.status is RunStatus.COMPLETED
    for run_id in run_ids:
        progress.await_end(workspace, run_id)
