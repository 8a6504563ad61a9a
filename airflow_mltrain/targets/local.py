"""This machine as a compute target."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from airflow_mltrain.errors import JobStartError, TargetError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.runtime.job_agent import verbs
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.targets.base import Job, JobState, Seen

_TRAINING_MODULES = Path(verbs.__file__).parents[1] / "training"
_NOT_FOR_SCRIPTS = ("AIRFLOW_", "_AIRFLOW_", "MLTRAIN_")


class LocalTarget:
    """Runs jobs as processes of this machine, supervised, below one root folder.

    Its state is in that folder alone, so that any process of this user on this machine may follow a
    job which another one started.
    """

    def __init__(self, name: str, root: Path, *, max_concurrent_runs: int | None = None) -> None:
        self.name = name
        self._root = str(root)
        self._max_concurrent_runs = max_concurrent_runs

    @property
    def place(self) -> str:
        return verbs.place(self._root)

    def missing(self, digests: Iterable[str]) -> set[str]:
        return {digest for digest in digests if not os.path.exists(self._blob(digest))}

    def upload(self, blobs: Mapping[str, Path]) -> None:
        for digest, source in blobs.items():
            destination = self._blob(digest)
            if os.path.exists(destination):
                continue
            os.makedirs(os.path.dirname(destination), mode=0o700, exist_ok=True)
            _link_or_copy(source, destination)

    def start(self, job: Job) -> None:
        spec = {
            "run_id": job.run_id,
            "snapshot_id": job.snapshot_id,
            "argv": list(job.argv),
            "environment_variables": dict(job.environment_variables),
            "max_run_duration_seconds": job.max_run_duration_seconds,
            "cancel_grace_seconds": job.cancel_grace_seconds,
            "max_concurrent_runs": self._max_concurrent_runs,
            "training_modules": str(_TRAINING_MODULES),
        }
        variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_NOT_FOR_SCRIPTS)  # they hold Airflow's secrets
        }
        try:
            verbs.start(self._root, spec, variables)
        except (OSError, RuntimeError) as error:
            raise JobStartError(
                f"compute target {self.name!r} could not start run {job.run_id}: {error}"
            ) from error

    def observe(self, seen: Mapping[str, Seen], wait_seconds: float) -> dict[str, JobState]:
        known = {
            run_id: {"status": str(one.status), "log": one.log, "metrics": one.metrics}
            for run_id, one in seen.items()
        }
        answer = verbs.observe(self._root, known, wait_seconds)
        return {run_id: _job_state(state) for run_id, state in answer.items()}

    def cancel(self, run_id: str) -> None:
        verbs.cancel(self._root, run_id)

    def fetch(self, run_id: str, destination: Path) -> tuple[str, ...]:
        folder = JobFolder(self._root, run_id)
        left_behind: list[str] = []
        if os.path.exists(folder.log):
            shutil.copyfile(folder.log, destination / "log")
        for source in (folder.outputs, folder.watched_logs):
            if os.path.isdir(source) and not os.path.islink(source):
                _copy_tree(source, destination / os.path.basename(source), left_behind)
        return tuple(left_behind)

    def discard(self, run_id: str) -> None:
        try:
            verbs.discard(self._root, run_id)
        except RuntimeError as error:
            raise TargetError(f"compute target {self.name!r}: {error}") from error

    def _blob(self, digest: str) -> str:
        return os.path.join(self._root, "blobs", digest[:2], digest)


def _job_state(state: Mapping[str, Any]) -> JobState:
    return JobState(
        status=RunStatus(state["status"]),
        log=state["log"],
        metrics=state["metrics"],
        exit_code=state.get("exit_code"),
        reason=state.get("reason"),
        started_at=_instant(state.get("started_at")),
        ended_at=_instant(state.get("ended_at")),
        log_bytes=state.get("log_bytes"),
        metrics_bytes=state.get("metrics_bytes"),
    )


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)


def _link_or_copy(source: Path, destination: str) -> None:
    draft = f"{destination}.{os.getpid()}"
    try:
        os.link(source, destination)  # blobs never change, so one file can serve both stores
    except FileExistsError:
        return
    except OSError:
        shutil.copyfile(source, draft)
        os.replace(draft, destination)


def _copy_tree(source: str, destination: Path, left_behind: list[str]) -> None:
    """Copy files, folders and the links among them; a script cannot make this read elsewhere."""
    root = os.path.realpath(source)
    destination.mkdir()
    for folder, folders, files in os.walk(source):
        copy = destination / os.path.relpath(folder, source)
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            if not _copy_one(path, copy / name, root):
                left_behind.append(os.path.relpath(path, os.path.dirname(source)))


def _copy_one(path: str, copy: Path, root: str) -> bool:
    if os.path.islink(path):
        target = os.path.realpath(path)
        if not target.startswith(root + os.sep):
            return False
        os.symlink(os.path.relpath(target, os.path.realpath(os.path.dirname(path))), copy)
    elif os.path.isdir(path):
        copy.mkdir()
    elif os.path.isfile(path):
        try:
            shutil.copy(path, copy)
        except PermissionError:
            return False
    else:
        return False
    return True
