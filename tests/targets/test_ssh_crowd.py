"""A crowd of runs on one SSH host whose sshd has the limits that it ships with."""

from __future__ import annotations

import os
from functools import partial
from multiprocessing import connection, get_context
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain import ScriptRunConfig, Workspace, progress, submission
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.registry import connect
from tests.services.ssh_host import SshHost

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from airflow_mltrain.settings import Settings

_RUNS, _AT_ONCE = 200, 40


def _submit_and_wait(settings: Settings, config: ScriptRunConfig) -> None:
    """What a mapped task does, in a process that was forked for it."""
    workspace = Workspace(settings)
    record = submission.submit(workspace, "crowd", config)
    ended = progress.await_end(workspace, record.run_id)
    os._exit(0 if ended.status is RunStatus.COMPLETED else 1)


def _run(processes: Sequence[BaseProcess], *, at_once: int) -> None:
    """Run each, a number of them at a time.

    One thread begins and reaps them all: an exit code is lost where two ask for it at the same
    moment, as beginning a process does of all others.
    """
    running: list[BaseProcess] = []
    for process in processes:
        while len(running) == at_once:
            connection.wait([each.sentinel for each in running])
            running = [each for each in running if each.exitcode is None]
        process.start()
        running.append(process)
    for process in running:
        process.join()


@pytest.mark.slow
def test_two_hundred_mapped_runs_are_all_let_in_and_all_end_well(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.sh").write_text("sleep 0.5; echo trained\n")
    config = ScriptRunConfig(project, command=["sh", "train.sh"], compute_target="gpu_box")
    process = partial(
        get_context("fork").Process, target=_submit_and_wait, args=(settings, config)
    )
    runs = [process() for _ in range(_RUNS)]
    assert Workspace(settings).history.list_runs() == []

    with SshHost() as host:
        monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", host.connection_json())
        assert connect("gpu_box", settings).place  # what is dear to import is, before the forks

        # when
        _run(runs, at_once=_AT_ONCE)

        # then
        assert [run.exitcode for run in runs] == [0] * _RUNS
        assert "drop connection" not in host.log
        records = Workspace(settings).history.list_runs(limit=1000)
        assert [record.status for record in records] == [RunStatus.COMPLETED] * _RUNS
        assert len({*host.home.glob(".mltrain/runs/*")}) == _RUNS
