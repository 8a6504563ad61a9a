from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import repeat
from pathlib import Path

import pytest

from airflow_mltrain import progress, submission
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.base import ComputeTarget, JobState, Seen
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
    _, state = await watcher.next_sighting(run_id, Seen())
    while state is not None and not state.status.is_terminal:
        _, state = await watcher.next_sighting(run_id, Seen(state.status, len(state.log)))
    return state


def watcher_of(target: ComputeTarget) -> TargetWatcher:
    return TargetWatcher(target.name, lambda: target)


class Finder:
    """Finds one target after the other, as an edited connection would lead to them."""

    def __init__(self, *targets: ComputeTarget) -> None:
        self._targets = list(targets)
        self.count = 0

    def find(self) -> ComputeTarget:
        self.count += 1
        return self._targets.pop(0) if len(self._targets) > 1 else self._targets[0]


def test_many_runs_share_one_exchange(workspace: Workspace, submit: Submit) -> None:
    run_ids = [submit("sleep 1") for _ in range(5)]
    target = FlakyTarget(workspace.get_target("local"), [])

    async def watch() -> list[JobState | None]:
        watcher = watcher_of(target)
        return await asyncio.gather(*(until_ended(watcher, run_id) for run_id in run_ids))

    states = asyncio.run(watch())

    assert {state.status for state in states if state} == {RunStatus.COMPLETED}
    assert set(run_ids) in target.exchanges


def test_a_run_that_is_watched_twice_is_seen_by_both(workspace: Workspace, submit: Submit) -> None:
    run_id = submit("echo one; sleep 0.3; echo two")

    async def watch() -> list[JobState | None]:
        watcher = watcher_of(workspace.get_target("local"))
        return await asyncio.gather(*(until_ended(watcher, run_id) for _ in range(2)))

    states = asyncio.run(watch())

    assert [state.status for state in states if state] == [RunStatus.COMPLETED] * 2


def test_a_run_nobody_started_is_unknown(workspace: Workspace) -> None:
    async def watch() -> JobState | None:
        watcher = watcher_of(workspace.get_target("local"))
        return (await watcher.next_sighting("nobody_s", Seen())).state

    assert asyncio.run(watch()) is None


@pytest.mark.parametrize("fault", [TargetUnreachableError("cut"), RuntimeError("odd")])
def test_a_fault_reaches_every_waiter_and_the_watcher_goes_on(
    workspace: Workspace, submit: Submit, fault: Exception
) -> None:
    run_ids = [submit("sleep 0.5"), submit("sleep 0.5")]
    target = FlakyTarget(workspace.get_target("local"), [fault])

    async def watch() -> tuple[list[object], JobState | None]:
        watcher = watcher_of(target)
        first = await asyncio.gather(
            *(watcher.next_sighting(run_id, Seen()) for run_id in run_ids), return_exceptions=True
        )
        return list(first), await until_ended(watcher, run_ids[0])

    faults, state = asyncio.run(watch())

    assert faults == [fault, fault]
    assert state is not None
    assert state.status is RunStatus.COMPLETED
    for run_id in run_ids:
        progress.await_end(workspace, run_id)


class ReplacedTarget(FlakyTarget):
    """It answers once, and never again."""

    def _fail(self) -> None:
        if self.exchanges:
            super()._fail()


def test_hundreds_who_wait_share_each_attempt_on_a_silent_target(workspace: Workspace) -> None:
    # given
    cut = TargetUnreachableError("cut")
    target = FlakyTarget(workspace.get_target("local"), [cut, cut])
    finder = Finder(target)

    async def watch(watcher: TargetWatcher, run_id: str) -> int:
        for failures in range(10):
            try:
                await watcher.next_sighting(run_id, Seen())
            except TargetUnreachableError:
                continue
            return failures
        raise AssertionError("it never answered")

    async def watch_all() -> list[int]:
        watcher = TargetWatcher("local", finder.find)
        return await asyncio.gather(*(watch(watcher, f"nobody_s_{i}") for i in range(500)))

    # when
    began = time.monotonic()
    failures = asyncio.run(watch_all())

    # then
    assert failures == [2] * 500
    assert time.monotonic() - began > 1 + 2  # the pauses after the first and the second
    assert target.attempts == 3
    assert finder.count == 3


def test_a_target_that_answers_keeps_being_the_one_that_was_found(workspace: Workspace) -> None:
    # given
    finder = Finder(workspace.get_target("local"))

    async def watch() -> None:
        watcher = TargetWatcher("local", finder.find)
        for _ in range(3):
            await watcher.next_sighting("nobody_s", Seen())

    # when
    asyncio.run(watch())

    # then
    assert finder.count == 1


def test_a_repaired_connection_is_found_after_a_failure(
    workspace: Workspace, submit: Submit
) -> None:
    # given
    whole = workspace.get_target("local")
    finder = Finder(ReplacedTarget(whole, repeat(TargetUnreachableError("rotated key"))), whole)
    run_id = submit("true")

    async def watch() -> ComputeTarget:
        watcher = TargetWatcher("local", finder.find)
        await watcher.next_sighting(run_id, Seen())
        with pytest.raises(TargetUnreachableError):
            await watcher.next_sighting(run_id, Seen())
        return (await watcher.next_sighting(run_id, Seen())).target

    # when
    answered = asyncio.run(watch())

    # then
    assert answered is whole
    progress.await_end(workspace, run_id)


def test_who_takes_any_answer_is_told_at_once_that_nothing_is_new(
    workspace: Workspace, submit: Submit
) -> None:
    # given
    run_id = submit("sleep 60")

    async def watch() -> JobState | None:
        watcher = watcher_of(workspace.get_target("local"))
        state = (await watcher.next_sighting(run_id, Seen())).state
        while state is not None and state.status is not RunStatus.RUNNING:
            state = (await watcher.next_sighting(run_id, Seen(state.status))).state
        seen = Seen(RunStatus.RUNNING)
        return (await watcher.next_sighting(run_id, seen, takes_any=True)).state

    # when
    state = asyncio.run(asyncio.wait_for(watch(), 30))

    # then
    assert state is not None
    assert (state.status, state.log) == (RunStatus.RUNNING, b"")
    submission.cancel(workspace, run_id)
    progress.await_end(workspace, run_id)
