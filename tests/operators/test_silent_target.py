"""What becomes of a task, and of its run, while the compute target does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_mltrain import Workspace, progress
from airflow_mltrain.errors import (
    ConfigurationError,
    TargetUnreachableError,
    UnreachableTimeoutError,
)
from airflow_mltrain.operators.build_environment import BuildEnvironmentOperator
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.triggers.training_run import TrainingRunTrigger
from airflow_mltrain.triggers.watcher import shared_workspace
from tests.fakes.task_context import FakeTaskInstance, context_of
from tests.services.breakable_target import BreakableTarget, breakable_target


@dataclass(frozen=True)
class Bench:
    """A task that submits to a target that can be cut."""

    box: BreakableTarget
    workspace: Workspace

    def operator(self, command: str, **facts: Any) -> SubmitTrainingRunOperator:
        facts = {"wait_for_completion": True, "unreachable_timeout": 0.2, **facts}
        config = self.box.config(command)
        return SubmitTrainingRunOperator(
            task_id="train", experiment="churn", config=config, **facts
        )

    def defer(self, operator: SubmitTrainingRunOperator) -> TrainingRunTrigger:
        """Execute until the task defers, on a target that is cut right after."""
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(context_of(FakeTaskInstance()))
        self.box.cut()
        trigger = deferred.value.trigger
        assert isinstance(trigger, TrainingRunTrigger)
        return trigger

    def status(self) -> list[RunStatus]:
        return [record.status for record in self.workspace.history.list_runs("churn")]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "0")
    monkeypatch.setenv("AIRFLOW__MLTRAIN__DEFER_AFTER_SECONDS", "0")
    shared_workspace.cache_clear()
    with breakable_target(monkeypatch, tmp_path) as box:
        workspace = shared_workspace()
        yield Bench(box, workspace)
        workspace.history.close()
    shared_workspace.cache_clear()


async def fire(trigger: TrainingRunTrigger) -> dict[str, Any]:
    async for event in trigger.run():
        payload: dict[str, Any] = event.payload
        return payload
    raise AssertionError("the trigger ended without an event")


def test_a_deferred_task_fails_and_its_retry_adopts_the_run(bench: Bench) -> None:
    # given
    operator = bench.operator("sleep 4")
    event = asyncio.run(fire(bench.defer(operator)))
    bench.box.repair()
    with pytest.raises(UnreachableTimeoutError, match="A retry of the task") as caught:
        operator.execute_complete(context_of(FakeTaskInstance()), event)
    retry = bench.operator("sleep 4", deferrable=False)

    # when
    run_id = retry.execute(context_of(FakeTaskInstance(try_number=2)))

    # then
    assert run_id in str(caught.value)
    assert bench.status() == [RunStatus.COMPLETED]


def test_outputs_that_cannot_be_fetched_yet_are_waited_for_as_long(bench: Bench) -> None:
    # given
    operator = bench.operator("sleep 5")
    run_id = bench.defer(operator).run_id
    event = {"run_id": run_id, "status": "Completed"}

    # when
    with pytest.raises(UnreachableTimeoutError):
        operator.execute_complete(context_of(FakeTaskInstance()), event)

    # then
    bench.box.repair()
    ti = FakeTaskInstance()
    assert operator.execute_complete(context_of(ti), event) == run_id
    assert ti.xcoms["status"] == "Completed"


def test_a_task_that_holds_its_slot_gives_the_wait_up_alike(bench: Bench) -> None:
    # given
    run_id = bench.defer(bench.operator("sleep 5")).run_id
    retry = bench.operator("sleep 2", deferrable=False)

    # when
    with pytest.raises(UnreachableTimeoutError, match=run_id):
        retry.execute(context_of(FakeTaskInstance(try_number=2)))

    # then
    bench.box.repair()
    assert progress.await_end(bench.workspace, run_id).status is RunStatus.COMPLETED


def test_a_retry_that_meets_silence_defers_as_ever(bench: Bench) -> None:
    # given
    run_id = bench.defer(bench.operator("sleep 5")).run_id

    # when
    retried = bench.defer(bench.operator("true", unreachable_timeout=timedelta(hours=2)))

    # then
    assert (retried.run_id, retried.unreachable_timeout_seconds) == (run_id, 7200.0)
    bench.box.repair()
    progress.await_end(bench.workspace, run_id)


def test_a_submission_to_a_silent_target_fails_at_once(bench: Bench) -> None:
    # given
    bench.box.cut()

    # when / then
    with pytest.raises(TargetUnreachableError):
        bench.operator("true").execute(context_of(FakeTaskInstance()))
    assert bench.status() == []


def test_a_negative_limit_is_refused_as_the_dag_is_parsed(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="unreachable_timeout"):
        bench.operator("true", unreachable_timeout=timedelta(days=-1))


def test_building_an_environment_knows_the_limit_too() -> None:
    # when
    operator = BuildEnvironmentOperator(
        task_id="build", environment="MLTrain-Minimal", unreachable_timeout=timedelta(hours=1)
    )

    # then
    assert operator.unreachable_timeout_seconds == 3600.0
