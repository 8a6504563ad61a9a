"""A crowd of runs on one SSH host whose sshd has the limits that it ships with."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain import ScriptRunConfig, Workspace, progress, submission
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.registry import connect
from tests.services.ssh_host import SshHost

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.settings import Settings

_RUNS, _AT_ONCE = 200, 40


def _submit_and_wait(settings: Settings, config: ScriptRunConfig) -> None:
    """What a mapped task does, in a process that was forked for it."""
    workspace = Workspace(settings)
    record = submission.submit(workspace, "crowd", config)
    ended = progress.await_end(workspace, record.run_id)
    os._exit(0 if ended.status is RunStatus.COMPLETED else 1)


@pytest.mark.slow
def test_two_hundred_mapped_runs_are_all_let_in_and_all_end_well(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.sh").write_text("sleep 0.5; echo trained\n")
    config = ScriptRunConfig(project, command=["sh", "train.sh"], compute_target="gpu_box")
    fork = multiprocessing.get_context("fork")
    assert Workspace(settings).history.list_runs() == []

    def run(_: int) -> int | None:
        process = fork.Process(target=_submit_and_wait, args=(settings, config))
        process.start()
        process.join()
        return process.exitcode

    with SshHost() as host:
        monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", host.connection_json())
        assert connect("gpu_box", settings).place  # what is dear to import is, before the forks

        # when
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            exit_codes = list(pool.map(run, range(_RUNS)))

        # then
        assert exit_codes == [0] * _RUNS
        assert "drop connection" not in host.log
        runs = Workspace(settings).history.list_runs(limit=1000)
        assert [run.status for run in runs] == [RunStatus.COMPLETED] * _RUNS
        assert len({*host.home.glob(".mltrain/runs/*")}) == _RUNS
