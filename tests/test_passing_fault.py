"""What does not last must not decide a run's fate."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from airflow_mltrain import Experiment, ScriptRunConfig, following, progress, submission
from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.base import ComputeTarget, Seen
from airflow_mltrain.workspace import Workspace
from tests.fakes.flaky_target import FlakyTarget
from tests.services.jobs import wait_until_ended
from tests.services.patience import PATIENCE_SECONDS

CUT = TargetUnreachableError("the cable is out")


class FlakyWorkspace(Workspace):
    """A workspace whose `local` target fails as often as it is told to."""

    def __init__(self, settings: Settings, faults: int) -> None:
        super().__init__(settings)
        self.target = FlakyTarget(super().get_target("local"), [CUT] * faults)

    def get_target(self, name: str) -> ComputeTarget:
        assert name == "local"
        return self.target


@pytest.fixture
def config(tmp_path: Path) -> ScriptRunConfig:
    (tmp_path / "project").mkdir()
    return ScriptRunConfig(tmp_path / "project", command=["sh", "-c", "echo on; sleep 1"])


def test_a_task_waits_for_a_target_that_does_not_answer(
    settings: Settings, config: ScriptRunConfig
) -> None:
    record = submission.submit(Workspace(settings), "cut", config)

    ended = following.follow_in_task(
        FlakyWorkspace(settings, 1), record.run_id, "reader", seconds=None
    )

    assert ended.status is RunStatus.COMPLETED
    assert Workspace(settings).history.log_position(record.run_id, "reader") == len("on\n")


def test_a_cancel_that_did_not_get_through_is_repeated_by_whoever_follows(
    settings: Settings, config: ScriptRunConfig
) -> None:
    config.command = ["sleep", "60"]
    record = submission.submit(Workspace(settings), "cut", config)
    with pytest.raises(TargetUnreachableError):
        submission.cancel(FlakyWorkspace(settings, 1), record.run_id)

    ended = progress.await_end(
        Workspace(settings), record.run_id, timeout_seconds=PATIENCE_SECONDS
    )

    assert ended.status is RunStatus.CANCELED


def test_a_run_that_hides_its_folder_is_not_lost(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    script = "rm -rf ../state.json; sleep 2; exit 0"
    config = ScriptRunConfig(tmp_path / "project", command=["sh", "-c", script])
    record = submission.submit(Workspace(settings), "hiding", config)

    ended = progress.await_end(
        Workspace(settings), record.run_id, timeout_seconds=PATIENCE_SECONDS
    )

    assert ended.status is RunStatus.COMPLETED


def test_a_cancel_is_not_done_while_the_job_hides_its_folder(
    settings: Settings, tmp_path: Path
) -> None:
    workspace = Workspace(settings)
    (tmp_path / "project").mkdir()
    gone = tmp_path / "gone"
    script = f"mv ../state.json {gone}; sleep 60"
    config = ScriptRunConfig(tmp_path / "project", command=["sh", "-c", script])
    record = submission.submit(workspace, "hiding", config)
    while not gone.exists():
        assert workspace.history.get(record.run_id).status is not RunStatus.CANCELED

    asked = submission.cancel(workspace, record.run_id)

    assert asked.status is RunStatus.CANCEL_REQUESTED
    ended = progress.await_end(workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS)
    assert ended.status is RunStatus.CANCELED


def test_waiting_starts_a_run_whose_submitter_could_not(
    settings: Settings, config: ScriptRunConfig
) -> None:
    workspace = Workspace(settings)
    experiment = Experiment(workspace, "cut")
    first = experiment.submit(config)
    first.wait_for_completion()
    recorded = replace(
        workspace.history.get(first.id),
        run_id="recorded_only",
        status=RunStatus.NOT_STARTED,
        is_started=False,
    )
    workspace.history.add(recorded)

    run = next(run for run in experiment.get_runs() if run.id == "recorded_only")

    assert run.wait_for_completion()["status"] == "Completed"


@pytest.mark.parametrize(
    "spoil",
    ["rm -f $MLTRAIN_METRICS; mkdir $MLTRAIN_METRICS", "ln -sf /etc/passwd $MLTRAIN_METRICS"],
)
def test_a_script_that_spoils_its_metrics_file_hides_no_other_run(
    settings: Settings, tmp_path: Path, spoil: str
) -> None:
    workspace = Workspace(settings)
    (tmp_path / "project").mkdir()
    commands = [f"{spoil}; sleep 0.5", "sleep 0.5"]
    records = [
        submission.submit(
            workspace,
            "spoiling",
            ScriptRunConfig(tmp_path / "project", command=["sh", "-c", command]),
        )
        for command in commands
    ]

    seen = {record.run_id: Seen() for record in records}
    states = workspace.get_target("local").observe(seen, 1.0)

    assert set(states) == set(seen)
    for record in records:
        ended = progress.await_end(workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS)
        assert ended.status is RunStatus.COMPLETED
    assert workspace.history.get_metrics(records[0].run_id) == []


def test_a_run_whose_log_and_metrics_were_cut_after_its_end_ends_with_a_warning(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # given
    workspace = Workspace(settings)
    (tmp_path / "project").mkdir()
    command = "echo said; printf '%40s' '{' >> $MLTRAIN_METRICS"
    config = ScriptRunConfig(tmp_path / "project", command=["sh", "-c", command])
    record = submission.submit(workspace, "cut", config)
    target = workspace.get_target("local")
    wait_until_ended(target, record.run_id)
    folder = settings.local_root / "runs" / record.run_id
    os.truncate(folder / "log", 2)
    os.truncate(folder / "metrics.jsonl", 7)

    # when
    steps = list(islice(progress.follow(workspace, record.run_id, wait_seconds=0.05), 20))

    # then
    assert steps[-1].record.status is RunStatus.COMPLETED
    assert b"".join(step.log for step in steps) == b"sa"
    assert "2 of the 5 bytes of its log, and 0 of the 40 of its metrics" in caplog.text
