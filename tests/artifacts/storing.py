"""What processes do in tests of a store that is elsewhere."""

from __future__ import annotations

import hashlib
import os
import resource
import time
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import s3fs  # noqa: F401 - loaded once, by the server

from airflow_mltrain import ScriptRunConfig, Workspace, submission
from airflow_mltrain.artifacts.objects import Objects
from airflow_mltrain.artifacts.opening import open_store
from airflow_mltrain.artifacts.store_lock import StoreLock
from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.recording import Occasion
from airflow_mltrain.runs.record import SubmissionKey
from airflow_mltrain.settings import Settings, StoreUrl
from tests.services.processes import fork_server

COLLECTOR_SECONDS = 3.0
OCCASION = Occasion(SubmissionKey("retrain", "scheduled__2026-01-01", "train"), "first/0")
FILES = {"log": b"line\n" * 100, "outputs/model": b"weights" * 1000, "outputs/b": b"b"}


def start(
    variables: Mapping[str, str], function: Callable[..., Any], *arguments: Any
) -> ForkServerProcess:
    """Begin a process that calls a function of this module."""
    process = fork_server().Process(target=_call, args=(dict(variables), function, arguments))
    process.start()
    return process


def _call(
    variables: Mapping[str, str], function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    os.environ.update(variables)
    function(*arguments)


def keep_run(settings: Settings, files: Mapping[str, bytes]) -> None:
    """Store a run."""
    with open_store(settings).keep_run("run_1") as folder:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def submit(settings: Settings, project: Path) -> None:
    """Submit a project, as every try of one task does."""
    config = ScriptRunConfig(project, "train.py")
    submission.submit(Workspace(settings), "churn", config, OCCASION)


def keep_large(settings: Settings, source: Path, report: Path) -> None:
    """Store a large file and fetch it again; tells how much memory that took."""
    store = open_store(settings)
    keep_run(settings, {"log": b""})  # whatever is loaded at first use
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with store.keep_run("large") as folder:
        (folder / "outputs").mkdir()
        (folder / "outputs/model").hardlink_to(source)
    kept = store.find_run("large")
    assert kept is not None
    kept.copy("outputs/model", report.with_suffix(".copy"))
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    with report.with_suffix(".copy").open("rb") as copy:
        digest = hashlib.file_digest(copy, "sha256").hexdigest()
    report.write_text(f"{used} {digest}")


def clear(folder: Path, key: str) -> None:
    """Clear a store at leisure; it is to be put to sleep as soon as `clearing` is there."""
    lock = StoreLock(Objects(StoreUrl("local", str(folder))), collector_seconds=COLLECTOR_SECONDS)
    with lock.alone(0.0):
        (folder / "clearing").touch()
        time.sleep(2 * COLLECTOR_SECONDS)  # in which it is renewed, awake or woken up
        try:
            lock.remove([key])
        except ArtifactError as error:
            (folder / "refused").write_text(str(error))
