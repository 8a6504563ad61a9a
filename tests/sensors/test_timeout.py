"""The timeout of a sensor, which counts from its start through deferrals and preempted runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException, TaskDeferred

from airflow_mltrain import Workspace, progress, submission
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.sensors.training_run import TrainingRunSensor
from tests.fakes.task_context import FakeTaskInstance, context_of
from tests.services.breakable_target import BreakableTarget, breakable_target
from tests.services.patience import PATIENCE_SECONDS

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_FAILURE = {"error": "Trigger failure", "traceback": []}


@dataclass(frozen=True)
class Bench:
    """A run that was preempted; the one that goes on from it lasts until the gate opens."""

    box: BreakableTarget
    workspace: Workspace
    run_id: str
    gate: Path

    def resume(self, sensor: TrainingRunSensor, started: timedelta) -> Any:
        """Have the sensor, begun so long ago, hear of the end of the run it was deferred for."""
        event = {"run_id": self.run_id, "status": "Failed"}
        return sensor.resume_execution("execute_complete", {"event": event}, _begun(started))

    def sensor(self, **facts: Any) -> TrainingRunSensor:
        return TrainingRunSensor(task_id="wait", run_id=self.run_id, **{"timeout": _DAY, **facts})

    def require_going_on(self) -> None:
        """The run that goes on has been left alone."""
        assert self.status() is RunStatus.RUNNING
        self.gate.touch()
        assert self.status() is RunStatus.COMPLETED

    def status(self) -> RunStatus:
        """That of the run that goes on, once it runs, or once it has ended if it may."""
        for step in progress.follow(self.workspace, f"{self.run_id}-p1", wait_seconds=1.0):
            if step.record.status is RunStatus.RUNNING and not self.gate.exists():
                return step.record.status
        return self.workspace.history.get(f"{self.run_id}-p1").status


def _begun(started: timedelta) -> Any:
    return context_of(FakeTaskInstance(start_date=datetime.now(timezone.utc) - started))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    monkeypatch.setenv("AIRFLOW__MLTRAIN__DEFER_AFTER_SECONDS", "0")
    gate = tmp_path / "gate"
    with breakable_target(monkeypatch, tmp_path) as box:
        workspace = Workspace.from_config()
        config = box.config(
            "[ -e ../previous_outputs/n ] || { touch outputs/n; exit 75; }\n"
            f"until [ -e '{gate}' ]; do sleep 0.1; done"
        )
        config.run_config.exit_code_policy = {75: "preempted"}
        run = submission.submit(workspace, "timeout", config)
        ended = progress.await_end(workspace, run.run_id, timeout_seconds=PATIENCE_SECONDS)
        assert ended.exit_code == 75
        try:
            yield Bench(box, workspace, run.run_id, gate)
        finally:
            gate.touch()
            workspace.history.close()


def test_a_second_deferral_has_what_the_first_has_left(bench: Bench) -> None:
    # given
    sensor = bench.sensor()

    # when
    with pytest.raises(TaskDeferred) as deferred:
        bench.resume(sensor, started=_DAY - _HOUR)

    # then
    assert deferred.value.trigger.serialize()[1]["run_id"] == f"{bench.run_id}-p1"
    assert deferred.value.timeout is not None
    assert timedelta(0) < deferred.value.timeout <= _HOUR
    bench.require_going_on()


def test_a_timeout_does_not_end_a_deferral_before_airflow_can_cope_with_that(
    bench: Bench,
) -> None:
    # given
    least = timedelta(seconds=bench.workspace.settings.event_delay_seconds)

    # when
    with pytest.raises(TaskDeferred) as deferred:
        bench.resume(bench.sensor(timeout=_HOUR), started=_HOUR - least)

    # then
    assert deferred.value.timeout == least
    bench.require_going_on()


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_timeout_that_passes_as_a_run_is_preempted_ends_the_wait(
    bench: Bench, *, deferrable: bool
) -> None:
    # given
    sensor = bench.sensor(deferrable=deferrable)

    # when
    with pytest.raises(AirflowSensorTimeout, match=rf"run {bench.run_id}-p1 is still .* goes on"):
        bench.resume(sensor, started=_DAY + _HOUR)

    # then
    bench.require_going_on()


def test_a_wait_that_a_worker_takes_over_from_a_failed_trigger_does_not_begin_anew(
    bench: Bench,
) -> None:
    # given
    sensor = bench.sensor()

    # when
    with pytest.raises(AirflowSensorTimeout, match="goes on"):
        sensor.resume_execution("__fail__", _FAILURE, _begun(_DAY + _HOUR))

    # then
    bench.require_going_on()


def test_it_also_ends_a_wait_for_a_target_that_is_away_when_a_run_is_preempted(
    bench: Bench,
) -> None:
    # given
    sensor = bench.sensor(soft_fail=True)
    bench.box.cut()

    # when
    with pytest.raises(AirflowSkipException, match=rf"run {bench.run_id} was preempted"):
        bench.resume(sensor, started=_DAY + _HOUR)

    # then
    bench.box.repair()
    with pytest.raises(TaskDeferred):
        bench.resume(bench.sensor(), started=_HOUR)
    bench.require_going_on()
