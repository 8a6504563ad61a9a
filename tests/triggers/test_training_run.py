"""The trigger, as a triggerer runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult

from airflow_mltrain import Workspace, progress, submission
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.triggers.training_run import TrainingRunTrigger
from airflow_mltrain.triggers.watcher import shared_workspace
from tests.fakes.task_context import FakeTaskInstance
from tests.services.breakable_target import BreakableTarget, breakable_target
from tests.services.jobs import wait_for


@dataclass(frozen=True)
class Bench:
    """A target that can be cut, and the workspace of a triggerer."""

    box: BreakableTarget
    workspace: Workspace

    def running(self, command: str) -> RunRecord:
        """A run that has begun, on a target that is cut by then."""
        run_id = self.box.submit(self.workspace, command).run_id
        wait_for(lambda: progress.refresh(self.workspace, run_id).status is RunStatus.RUNNING)
        self.box.cut()
        return self.workspace.history.get(run_id)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "0")
    shared_workspace.cache_clear()
    with breakable_target(monkeypatch, tmp_path) as box:
        workspace = shared_workspace()
        yield Bench(box, workspace)
        workspace.history.close()
    shared_workspace.cache_clear()


def trigger_of(record: RunRecord, **facts: Any) -> TrainingRunTrigger:
    return TrainingRunTrigger(record.target, record.run_id, "reader", is_owner=True, **facts)


async def fire(trigger: TrainingRunTrigger) -> dict[str, Any]:
    async for event in trigger.run():
        payload: dict[str, Any] = event.payload
        return payload
    raise AssertionError("the trigger ended without an event")


def test_a_target_that_is_silent_for_too_long_ends_the_wait_alone(bench: Bench) -> None:
    # given
    record = bench.running("sleep 4")

    # when
    event = asyncio.run(fire(trigger_of(record, unreachable_timeout_seconds=0.2)))

    # then
    assert (event["run_id"], event["status"]) == (record.run_id, None)
    assert "target 'box' has not answered" in event["unreachable"]
    assert bench.workspace.history.get(record.run_id).status is RunStatus.RUNNING
    bench.box.repair()
    assert progress.await_end(bench.workspace, record.run_id).status is RunStatus.COMPLETED


def test_a_silent_run_history_ends_the_wait_too(bench: Bench) -> None:
    # given
    record = bench.running("sleep 5")
    bench.box.repair()
    database = Path(bench.workspace.settings.database_url.removeprefix("sqlite:///"))
    aside = database.with_suffix(".aside")
    bench.workspace.history.close()
    database.rename(aside)
    database.mkdir()

    # when
    event = asyncio.run(fire(trigger_of(record, unreachable_timeout_seconds=0.2)))

    # then
    assert "the run history has not answered" in event["unreachable"]
    bench.workspace.history.close()
    database.rmdir()
    aside.rename(database)
    assert progress.await_end(bench.workspace, record.run_id).status is RunStatus.COMPLETED


def test_a_silence_that_ends_in_time_is_told_when_it_begins_and_ends(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    record = bench.running("sleep 60")
    said: list[str] = []

    def is_said(text: str) -> bool:
        said.append(capsys.readouterr().out)
        return text in "".join(said)

    async def watch() -> None:
        wait = asyncio.create_task(fire(trigger_of(record)))
        await asyncio.to_thread(wait_for, lambda: is_said("goes on unobserved"))
        bench.box.repair()
        await asyncio.to_thread(wait_for, lambda: is_said("is observed again"))
        wait.cancel()

    # when
    asyncio.run(watch())

    # then
    assert "".join(said).count(record.run_id) == 2
    bench.workspace.get_target("box").cancel(record.run_id)
    assert progress.await_end(bench.workspace, record.run_id).status is RunStatus.CANCELED


class _MarkedFailed:
    """What a triggerer asks Airflow through, which says that the task was marked failed."""

    def send(self, msg: GetTaskStates) -> TaskStatesResult:
        assert msg.run_ids
        assert msg.task_ids
        return TaskStatesResult(task_states={msg.run_ids[0]: {msg.task_ids[0]: "failed"}})


def test_a_task_that_is_marked_failed_sees_the_run_end_in_which_its_own_went_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    config = bench.box.config(
        'touch outputs/begun; [ -n "$MLTRAIN_PREVIOUS_OUTPUTS" ] && exec sleep 1000; exit 75'
    )
    config.run_config.exit_code_policy = {75: "preempted"}
    run = submission.submit(bench.workspace, "cut", config)
    run = progress.await_end(bench.workspace, run.run_id)
    successor = submission.start(bench.workspace, submission.go_on(bench.workspace, run))
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", _MarkedFailed(), raising=False)
    trigger = trigger_of(run)
    trigger.task_instance = cast("Any", FakeTaskInstance())

    # when
    asyncio.run(trigger.on_kill())

    # then
    ended = bench.workspace.history.get(successor.run_id)
    assert (ended.run_id, ended.status) == (f"{run.run_id}-p1", RunStatus.CANCELED)


def test_a_trigger_that_was_stored_before_it_knew_a_limit_still_loads(bench: Bench) -> None:
    # given
    record = bench.box.submit(bench.workspace, "true")
    stored: dict[str, Any] = {
        "target": record.target,
        "run_id": record.run_id,
        "reader": "reader",
        "is_owner": True,
    }

    # when
    event = asyncio.run(fire(TrainingRunTrigger(**stored)))

    # then
    assert event == {"run_id": record.run_id, "status": "Completed"}
    progress.await_end(bench.workspace, record.run_id)


def test_a_triggerer_that_takes_over_knows_the_limit() -> None:
    # given
    trigger = TrainingRunTrigger(
        "box", "churn_1", "reader", is_owner=False, unreachable_timeout_seconds=90.0
    )

    # when
    _, kwargs = trigger.serialize()

    # then
    assert TrainingRunTrigger(**kwargs).unreachable_timeout_seconds == 90.0
