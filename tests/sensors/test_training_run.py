"""The sensor, while the compute target of its run does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from sqlalchemy import insert

from airflow_mltrain import Workspace, progress, submission
from airflow_mltrain.errors import ConfigurationError, UnreachableTimeoutError
from airflow_mltrain.runs.database import Database
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.schema import runs, to_row
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.sensors.training_run import TrainingRunSensor
from airflow_mltrain.triggers.training_run import TrainingRunTrigger
from tests.fakes.task_context import FakeTaskInstance, context_of
from tests.services.breakable_target import BreakableTarget, breakable_target
from tests.services.call_stack import SHALLOW_FRAMES, shallow_stack

EVENT = {"status": None, "unreachable": "the wait for run churn_1 is given up"}


@dataclass(frozen=True)
class Bench:
    """A run on a target that is cut, and what waits for it."""

    box: BreakableTarget
    workspace: Workspace
    record: RunRecord

    def sensor(self, **facts: Any) -> TrainingRunSensor:
        facts = {"unreachable_timeout": 0.2, **facts}
        return TrainingRunSensor(task_id="wait", run_id=self.record.run_id, **facts)

    def outcome(self) -> RunStatus:
        """How the run ends, seen from where its target answers."""
        self.box.repair()
        return progress.await_end(self.workspace, self.record.run_id).status


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    monkeypatch.setenv("AIRFLOW__MLTRAIN__DEFER_AFTER_SECONDS", "0")
    with breakable_target(monkeypatch, tmp_path) as box:
        workspace = Workspace.from_config()
        record = box.submit(workspace, "sleep 0.5")
        box.cut()
        yield Bench(box, workspace, record)
        workspace.history.close()


def test_a_sensor_that_holds_its_slot_gives_the_wait_up(bench: Bench) -> None:
    # given
    sensor = bench.sensor(deferrable=False)

    # when
    with pytest.raises(UnreachableTimeoutError, match=bench.record.run_id):
        sensor.execute(context_of(FakeTaskInstance()))

    # then
    assert bench.outcome() is RunStatus.COMPLETED


@pytest.mark.parametrize("mercy", ["soft_fail", "never_fail"])
def test_a_soft_sensor_is_skipped_instead(bench: Bench, mercy: str) -> None:
    # given
    sensor = bench.sensor(deferrable=False, **{mercy: True})

    # when
    with pytest.raises(AirflowSkipException, match=bench.record.run_id):
        sensor.execute(context_of(FakeTaskInstance()))

    # then
    assert bench.outcome() is RunStatus.COMPLETED


def test_its_own_timeout_ends_the_wait_in_the_silence(bench: Bench) -> None:
    # given
    sensor = bench.sensor(deferrable=False, timeout=0.2, unreachable_timeout=None)

    # when
    with pytest.raises(AirflowSensorTimeout):
        sensor.execute(context_of(FakeTaskInstance()))

    # then
    assert bench.outcome() is RunStatus.COMPLETED


def test_a_deferred_sensor_hands_its_limit_to_the_trigger(bench: Bench) -> None:
    # given
    sensor = bench.sensor(unreachable_timeout=90)

    # when
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context_of(FakeTaskInstance()))

    # then
    trigger = deferred.value.trigger
    assert isinstance(trigger, TrainingRunTrigger)
    assert trigger.unreachable_timeout_seconds == 90.0
    assert bench.outcome() is RunStatus.COMPLETED


def test_a_deferred_sensor_fails_as_the_trigger_says(bench: Bench) -> None:
    # given
    sensor = bench.sensor()

    # when / then
    with pytest.raises(UnreachableTimeoutError, match="is given up"):
        sensor.resume_execution(
            "execute_complete", {"event": EVENT}, context_of(FakeTaskInstance())
        )
    assert bench.outcome() is RunStatus.COMPLETED


def test_a_deferred_soft_sensor_is_skipped_as_the_trigger_says(bench: Bench) -> None:
    # given
    sensor = bench.sensor(soft_fail=True)

    # when / then
    with pytest.raises(AirflowSkipException, match="is given up"):
        sensor.resume_execution(
            "execute_complete", {"event": EVENT}, context_of(FakeTaskInstance())
        )
    assert bench.outcome() is RunStatus.COMPLETED


def test_a_look_that_meets_silence_comes_back_later(bench: Bench) -> None:
    # given
    sensor = bench.sensor(deferrable=False, mode="reschedule", unreachable_timeout=0.001)

    # when
    looked = sensor.poke(context_of(FakeTaskInstance()))

    # then
    assert not looked.is_done
    assert bench.outcome() is RunStatus.COMPLETED


def test_one_look_finds_the_end_of_a_run_that_was_preempted_very_often(bench: Bench) -> None:
    # given
    bench.box.repair()
    done = progress.await_end(bench.workspace, bench.record.run_id)
    policy = {"exit_code_policy": {"75": "preempted"}, "max_preemptions": 10_000}
    config = {**done.config, "run_config": {**done.config["run_config"], **policy}}
    first = replace(done, run_id="often", config=config, status=RunStatus.FAILED, exit_code=75)
    often = SHALLOW_FRAMES // 2
    chain = [
        replace(first, run_id=f"often-p{n}", generation=n + 1, status=status)
        for n, status in enumerate([RunStatus.FAILED] * (often - 1) + [RunStatus.COMPLETED], 1)
    ]
    with Database(bench.workspace.settings.database_url).writing() as connection:
        connection.execute(insert(runs), [to_row(one) for one in (first, *chain)])
    sensor = TrainingRunSensor(task_id="wait", run_id="often", deferrable=False, mode="reschedule")

    # when
    with shallow_stack():
        looked = sensor.poke(context_of(FakeTaskInstance()))

    # then
    assert looked.is_done
    assert looked.xcom_value is not None
    assert looked.xcom_value["run_id"] == f"often-p{often}"


@pytest.mark.parametrize(
    ("looks", "refused"),
    [
        ({"poke_interval": 45.0}, None),
        ({"poke_interval": 46.0}, "a poke_interval of at most 45 seconds"),
        ({"exponential_backoff": True, "max_wait": 45.0}, None),
        ({"exponential_backoff": True}, "a max_wait of at most 45 seconds"),
    ],
)
def test_a_sensor_whose_looks_would_not_keep_its_run_alive_says_so(
    bench: Bench, looks: dict[str, Any], refused: str | None
) -> None:
    # given
    bench.box.repair()
    config = bench.box.config("sleep 5")
    config.run_config.lease_seconds = 120
    run = submission.submit(bench.workspace, "cut", config)
    sensor = TrainingRunSensor(
        task_id="wait",
        run_id=run.run_id,
        deferrable=False,
        mode="reschedule",
        **looks,
    )

    # when
    with pytest.raises(AirflowFailException, match=refused) if refused else nullcontext():
        looked = sensor.poke(context_of(FakeTaskInstance()))
        assert not looked.is_done

    # then
    assert progress.await_end(bench.workspace, run.run_id).status is RunStatus.COMPLETED
    assert bench.outcome() is RunStatus.COMPLETED


def test_a_negative_limit_is_refused_as_the_dag_is_parsed(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="unreachable_timeout"):
        bench.sensor(unreachable_timeout=-1)
    assert bench.outcome() is RunStatus.COMPLETED
