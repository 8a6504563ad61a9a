"""What exit codes mean to tasks that Airflow runs, and to one whose target is away just then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_mltrain import Workspace, progress
from airflow_mltrain.errors import UnreachableTimeoutError
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.sensors.training_run import TrainingRunSensor
from tests.fakes.task_context import FakeTaskInstance, context_of
from tests.services.breakable_target import BreakableTarget, breakable_target
from tests.services.dag_run import DagRun, dag_test
from tests.services.jobs import wait_for
from tests.services.patience import PATIENCE_SECONDS

_DAGS = Path(__file__).parent / "dags"
_PREEMPTED_ONCE = "[ -e ../previous_outputs/n ] || { touch outputs/n; exit 75; }"


@pytest.fixture(scope="module")
def dag_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagRun]:
    folder = tmp_path_factory.mktemp("codes")
    project = folder / "project"
    project.mkdir()
    with dag_test(_DAGS / "exit_codes.py", folder, PROJECT=str(project)) as dag_run:
        yield dag_run


@pytest.mark.airflow
@pytest.mark.slow
@pytest.mark.parametrize(
    ("task_id", "state", "attempts", "exit_codes"),
    [
        ("fails", "failed", 1, [2]),
        ("skips", "skipped", 1, [3]),
        ("retries", "failed", 2, [4, 4]),
        ("is_unnamed", "failed", 2, [5, 5]),
        ("is_preempted", "success", 1, [75, 75, 0]),
        ("is_preempted_deferred", "success", 1, [75, 75, 0]),
        ("submits", "success", 1, [75, 75, 0]),  # which the sensors saw to
        ("senses", "success", 1, []),
        ("senses_deferred", "success", 1, []),
        ("senses_skip", "skipped", 1, []),
    ],
)
def test_each_exit_code_means_what_the_policy_says(
    dag_run: DagRun, task_id: str, state: str, attempts: int, exit_codes: list[int]
) -> None:
    assert dag_run.attempts[task_id] == [state, attempts], dag_run.log[-5000:]
    assert [run.exit_code for run in dag_run.runs(task_id)] == exit_codes


@dataclass(frozen=True)
class Bench:
    """A task whose run was preempted, which nobody has seen yet."""

    box: BreakableTarget
    workspace: Workspace
    event: Mapping[str, Any]  # of its trigger

    def runs(self) -> list[RunRecord]:
        found = self.workspace.history.list_runs("churn")
        return sorted(found, key=lambda run: run.generation)


def _operator(box: BreakableTarget, **facts: Any) -> SubmitTrainingRunOperator:
    config = box.config(_PREEMPTED_ONCE)
    config.run_config.exit_code_policy = {75: "preempted"}
    facts = {"wait_for_completion": True, "deferrable": False, **facts}
    return SubmitTrainingRunOperator(task_id="train", experiment="churn", config=config, **facts)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    with breakable_target(monkeypatch, tmp_path) as box:
        workspace = Workspace.from_config()
        submit = _operator(box, wait_for_completion=False)
        run_id = submit.execute(context_of(FakeTaskInstance()))
        ended = progress.await_end(workspace, run_id, timeout_seconds=PATIENCE_SECONDS)
        assert ended.exit_code == 75
        yield Bench(box, workspace, {"run_id": run_id, "status": "Failed"})
        workspace.history.close()


def test_a_target_that_is_away_when_a_run_is_preempted_is_waited_for(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    # given
    operator, ti = _operator(bench.box), FakeTaskInstance()
    bench.box.cut()

    # when
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(operator.execute_complete, context_of(ti), bench.event)
        wait_for(lambda: "goes on unobserved" in caplog.text)
        bench.box.repair()
        run_id = waiting.result()

    # then
    assert [run.status for run in bench.runs()] == [RunStatus.FAILED, RunStatus.COMPLETED]
    assert run_id == ti.xcoms["training_run_id"] == f"{bench.event['run_id']}-p1"
    assert ti.xcoms["status"] == "Completed"


def test_a_retry_after_such_a_wait_was_given_up_starts_what_was_recorded(bench: Bench) -> None:
    # given
    operator = _operator(bench.box, unreachable_timeout=0.2)
    bench.box.cut()
    with pytest.raises(UnreachableTimeoutError):
        operator.execute_complete(context_of(FakeTaskInstance()), bench.event)
    bench.box.repair()

    # when
    run_id = _operator(bench.box).execute(context_of(FakeTaskInstance(try_number=2)))

    # then
    assert run_id == f"{bench.event['run_id']}-p1"
    assert [run.status for run in bench.runs()] == [RunStatus.FAILED, RunStatus.COMPLETED]


def test_a_task_that_is_given_up_when_its_run_is_preempted_starts_no_other(bench: Bench) -> None:
    # given
    operator = _operator(bench.box)
    operator.on_kill()

    # when
    with pytest.raises(AirflowFailException, match="canceled with its task"):
        operator.execute_complete(context_of(FakeTaskInstance(state="failed")), bench.event)

    # then
    assert len(bench.runs()) == 1


def test_a_drained_worker_leaves_it_to_the_next_one_to_go_on(bench: Bench) -> None:
    # given
    operator = _operator(bench.box, deferrable=True)
    operator.on_kill()

    # when
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute_complete(context_of(FakeTaskInstance()), bench.event)

    # then
    assert deferred.value.trigger.serialize()[1]["run_id"] == bench.event["run_id"]
    assert len(bench.runs()) == 1


def test_a_sensor_that_looks_now_and_then_looks_at_what_goes_on(bench: Bench) -> None:
    # given
    ti = FakeTaskInstance(task_id="wait")
    found: list[Any] = []

    def look() -> bool:
        sensor = TrainingRunSensor(  # a new one each time, as in Airflow
            task_id="wait", run_id=bench.event["run_id"], deferrable=False, mode="reschedule"
        )
        found.append(sensor.poke(context_of(ti)))
        return bool(found[-1].is_done)

    # when
    wait_for(look)

    # then
    assert found[-1].xcom_value["run_id"] == f"{bench.event['run_id']}-p1"
    assert [run.status for run in bench.runs()] == [RunStatus.FAILED, RunStatus.COMPLETED]
