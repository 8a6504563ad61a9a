"""What a supervisor records that fails itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.snapshot import take_snapshot
from airflow_mltrain.targets.base import Job
from airflow_mltrain.targets.machine import spec_of

_SUPERVISE = """
import os, sys
from airflow_mltrain.runtime.job_agent import process
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.runtime.job_agent.supervisor import Supervisor

class FailingFolder(JobFolder):
    def is_marked_canceled(self):
        if os.path.exists(self.log) and os.path.getsize(self.log):
            raise RuntimeError("a fault of the agent")
        return super().is_marked_canceled()

process.adopt_orphans()
supervisor = Supervisor(FailingFolder(*sys.argv[1:]), b"")
assert supervisor.claim()
supervisor.run()
"""


def _lay_down(folder: Path, script: str) -> JobFolder:
    root, source = folder / "root", folder / "source"
    source.mkdir()
    snapshot = take_snapshot(
        source, BlobStore(root / "blobs"), index_directory=folder / "index", max_bytes=10**6
    )
    job = Job("run-1", snapshot.snapshot_id, ("sh", "-c", script), {}, cancel_grace_seconds=1)
    spec = spec_of(job, max_concurrent_runs=None, environments_max_bytes=None, gpus=None)
    laid_down = JobFolder(str(root), "run-1")
    laid_down.create()
    laid_down.write_spec({**spec, "training_modules": str(folder)})
    return laid_down


def test_a_script_that_the_agents_own_fault_ends_has_no_exit_code(tmp_path: Path) -> None:
    # given
    folder = _lay_down(tmp_path, "echo begun; sleep 1000")

    # when
    subprocess.run([sys.executable, "-c", _SUPERVISE, folder.root, folder.run_id], check=True)

    # then
    state = folder.read_state()
    assert state is not None
    assert state["status"] == "Failed"
    assert "a fault of the agent" in state["reason"]
    assert state.get("exit_code") is None
