"""The disk that outputs are kept on is full: the run is there until there is room."""

from __future__ import annotations

import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain import Run, ScriptRunConfig, Workspace, progress, reconciliation, submission
from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from tests.services.mount import small_disk_at
from tests.services.ssh_host import SshHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DISK_BYTES = 4 << 20
_SCRIPT = """
import hashlib, os
content = os.urandom(8 << 20)
open("outputs/model", "wb").write(content)
print(hashlib.sha256(content).hexdigest())
"""


@pytest.fixture
def full_store(settings: Settings) -> Iterator[Path]:
    """A disk that has room for a project, and none for what it makes."""
    with small_disk_at(settings.artifacts, _DISK_BYTES):
        yield settings.artifacts


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    with SshHost(own_processes=False) as host:
        yield host


@pytest.mark.parametrize("target", ["local", "gpu_box"])
def test_outputs_come_home_once_there_is_room(
    settings: Settings,
    full_store: Path,
    host: SshHost,
    target: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given
    mltrain = {"root": f"{host.make_shared_folder()}/root"}
    monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", host.connection_json(mltrain=mltrain))
    workspace = Workspace(settings)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "train.py").write_text(_SCRIPT)
    config = ScriptRunConfig(tmp_path / "project", "train.py", compute_target=target)
    run_id = submission.submit(workspace, "churn", config).run_id

    # when
    with pytest.raises(ArtifactError, match=f"run {run_id}.*No space left.*still has them"):
        progress.await_end(workspace, run_id)
    (early,) = reconciliation.reconcile(workspace).runs

    # then
    assert workspace.history.get(run_id).status is RunStatus.FINALIZING
    assert "No space left" in str(early.fault)
    assert list((full_store / "runs").iterdir()) == []

    # when
    subprocess.run(["mount", "-o", "remount,size=32m", full_store], check=True)
    (late,) = reconciliation.reconcile(workspace).runs

    # then
    assert late.after.status is RunStatus.COMPLETED
    kept = full_store / "runs" / run_id
    digest = sha256((kept / "outputs" / "model").read_bytes()).hexdigest()
    assert (kept / "log").read_text() == f"{digest}\n"
    assert Run.get(workspace, run_id).wait_for_completion()["status"] == "Completed"
