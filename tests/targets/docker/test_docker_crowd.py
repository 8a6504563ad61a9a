"""A crowd of runs on one engine, from several processes."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from docker import DockerClient

from airflow_mltrain import ScriptRunConfig, Workspace, progress, submission
from airflow_mltrain.runs.status import RunStatus
from tests.services.artifacts import folder_store
from tests.services.docker_jobs import container_names
from tests.services.patience import PATIENCE_SECONDS
from tests.targets.docker.conftest import ConnectTo

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.settings import Settings

_PROCESSES, _RUNS_EACH = 4, 8


def _submit_and_wait(settings: Settings, config: ScriptRunConfig) -> None:
    workspace = Workspace(settings)

    def run(_: int) -> RunStatus:
        record = submission.submit(workspace, "crowd", config)
        return progress.await_end(
            workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS
        ).status

    with ThreadPoolExecutor(_RUNS_EACH) as pool:
        statuses = list(pool.map(run, range(_RUNS_EACH)))
    os._exit(0 if set(statuses) == {RunStatus.COMPLETED} else 1)


@pytest.mark.slow
def test_thirty_two_runs_of_four_processes_are_all_begun_and_all_end_well(
    settings: Settings, connect_to: ConnectTo, client: DockerClient, tmp_path: Path
) -> None:
    # given
    connect_to()
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.sh").write_text("echo trained > outputs/model\n")
    config = ScriptRunConfig(project, command=["sh", "train.sh"], compute_target="engine")
    assert Workspace(settings).history.list_runs() == []
    fork = multiprocessing.get_context("fork")
    processes = [
        fork.Process(target=_submit_and_wait, args=(settings, config)) for _ in range(_PROCESSES)
    ]

    # when
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)

    # then
    assert [process.exitcode for process in processes] == [0] * _PROCESSES
    workspace = Workspace(settings)
    runs = workspace.history.list_runs(limit=1000)
    assert [run.status for run in runs] == [RunStatus.COMPLETED] * _PROCESSES * _RUNS_EACH
    outputs = [folder_store(workspace).run_folder(run.run_id) / "outputs/model" for run in runs]
    assert {path.read_text() for path in outputs} == {"trained\n"}
    left = container_names(client)
    assert left.isdisjoint(run.run_id for run in runs)
