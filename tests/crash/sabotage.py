"""Faults to plant in a process of the crash tests, each of which the verdict has to see."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from airflow_mltrain import submission
from airflow_mltrain.runs.history import RunHistory
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.runtime.job_agent import verbs
from airflow_mltrain.runtime.job_agent.plain_file import size_of
from airflow_mltrain.targets import local


def commit(name: str) -> None:
    """Plant the fault of that name in this process."""
    globals()[f"_{name}"]()


def _double_start() -> None:
    """A job's claim does not last, and a second supervisor takes it."""
    launch = verbs._launch  # noqa: SLF001

    def launch_twice(folder: Any, *arguments: Any) -> bool:
        launch(folder, *arguments)
        while not size_of(folder.log):
            time.sleep(0.01)
        shutil.rmtree(folder.code)
        Path(folder.state).unlink()
        return launch(folder, *arguments)

    _replace(verbs, _launch=launch_twice)


def _second_generation() -> None:
    """A retry starts another run while the first goes on."""
    _replace(
        submission,
        _is_adoptable=lambda *_: False,
        cancel=lambda *_: None,
        await_end=lambda workspace, run_id: workspace.history.get(run_id),
    )


def _lost_byte() -> None:
    """A file is kept but for its last byte."""
    copy = local._copy_tree  # noqa: SLF001

    def copy_less(source: Path, kept: Path, left_behind: list[str]) -> None:
        copy(source, kept, left_behind)
        if kept.name == "log":
            content = kept.read_bytes()
            kept.unlink()  # it is the job's own file too
            kept.write_bytes(content[:-1])

    _replace(local, _copy_tree=copy_less)


def _doubled_byte() -> None:
    """A file is kept with its first byte twice."""
    copy = local._copy_tree  # noqa: SLF001

    def copy_more(source: Path, kept: Path, left_behind: list[str]) -> None:
        copy(source, kept, left_behind)
        if kept.name == "log":
            content = kept.read_bytes()
            kept.unlink()
            kept.write_bytes(content[:1] + content)

    _replace(local, _copy_tree=copy_more)


def _wrong_outcome() -> None:
    """A run that failed is recorded as completed."""
    advance = RunHistory.advance

    def advance_gladly(self: RunHistory, run_id: str, status: RunStatus, **facts: Any) -> Any:
        if status is RunStatus.FAILED:
            status, facts["exit_code"] = RunStatus.COMPLETED, 0
        return advance(self, run_id, status, **facts)

    _replace(RunHistory, advance=advance_gladly)


def _replace(owner: object, **changes: Any) -> None:
    for name, change in changes.items():
        getattr(owner, name)  # it may have been renamed meanwhile
        setattr(owner, name, change)
