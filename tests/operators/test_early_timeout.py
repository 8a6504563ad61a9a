"""An `execution_timeout` that passes while a task is still at its first steps."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_mltrain import Workspace, progress, submission
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator
from airflow_mltrain.runs.status import RunStatus
from tests.fakes.task_context import FakeTaskInstance, context_of

# An attempt in a process of its own, with nothing loaded yet: a timeout comes by a signal, and so
# wherever the interpreter is; here where it enters that function, or begins to load that module.
_ATTEMPT = """
import sys
from airflow.sdk.exceptions import AirflowTaskTimeout
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator
from tests.fakes.task_context import FakeTaskInstance, context_of

module, function, run_id, project = sys.argv[1:]

def fire(frame, event, _):
    where = frame.f_globals.get("__name__"), frame.f_code.co_name
    if event == "call" and where == (module, function):
        raise AirflowTaskTimeout("the time is up")

config = {"source_directory": project, "command": ["sleep", "1000"]}
operator = SubmitTrainingRunOperator(
    task_id="train", experiment="churn", config=config, wait_for_completion=True
)
context = context_of(FakeTaskInstance(try_number=2))
sys.setprofile(fire)
try:
    if run_id:
        event = {"event": {"run_id": run_id, "status": None}}
        operator.resume_execution("execute_complete", event, context)
    else:
        operator.execute(context)
except AirflowTaskTimeout:
    print("timed out")
"""


def _lasting(project: Path, **facts: Any) -> SubmitTrainingRunOperator:
    """A task whose script goes on for as long as its test."""
    project.mkdir()
    return SubmitTrainingRunOperator(
        task_id="train",
        experiment="churn",
        config={
            "source_directory": str(project),
            "command": ["sleep", "1000"],
            "max_run_duration_seconds": 60,  # where its test fails
        },
        **facts,
    )


@pytest.mark.parametrize(
    ("module", "function", "is_deferred"),
    [
        ("airflow_mltrain.settings", "read_settings", False),
        ("airflow_mltrain.submission", "<module>", False),
        ("airflow_mltrain.workspace", "from_config", True),
    ],
)
def test_a_timeout_in_the_first_steps_kills_the_run_of_an_earlier_attempt(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    function: str,
    *,
    is_deferred: bool,
) -> None:
    # given
    monkeypatch.setenv("AIRFLOW__MLTRAIN__CANCEL_GRACE_SECONDS", "1")
    project = tmp_path / "project"
    run_id = _lasting(project).execute(context_of(FakeTaskInstance()))

    # when
    attempt = subprocess.run(
        [
            *(sys.executable, "-c", _ATTEMPT, module, function),
            *(run_id if is_deferred else "", project),
        ],
        cwd=Path(__file__).parents[2],
        env=dict(os.environ),
        check=False,
        capture_output=True,
        text=True,
    )

    # then
    assert attempt.stdout.endswith("timed out\n"), attempt.stderr
    workspace = Workspace.from_config()
    assert workspace.history.get(run_id).status is RunStatus.CANCELED
    assert [run.run_id for run in workspace.history.list_runs("churn")] == [run_id]
    assert progress.refresh(workspace, run_id).status is RunStatus.CANCELED
    workspace.history.close()


def test_one_that_is_nearly_over_does_not_end_a_deferral_before_airflow_can_cope_with_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setenv("AIRFLOW__MLTRAIN__DEFER_AFTER_SECONDS", "0")
    monkeypatch.setenv("AIRFLOW__MLTRAIN__CANCEL_GRACE_SECONDS", "1")
    operator = _lasting(
        tmp_path / "project", wait_for_completion=True, execution_timeout=timedelta(hours=1)
    )
    began = datetime.now(timezone.utc) - timedelta(hours=1)

    # when
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(FakeTaskInstance(start_date=began)))

    # then
    workspace = Workspace.from_config()
    (run,) = workspace.history.list_runs("churn")
    assert deferred.value.timeout == timedelta(seconds=workspace.settings.event_delay_seconds)
    submission.cancel(workspace, run.run_id)
    assert progress.await_end(workspace, run.run_id).status is RunStatus.CANCELED
    workspace.history.close()
