"""Where crash tests take place: a workspace on PostgreSQL, a target, and a server of processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from airflow_mltrain import ScriptRunConfig, Workspace
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.settings import Settings
from tests.crash.script import PREEMPTED, SCRIPT, Story

_NOT_HANDED_ON = ("AIRFLOW_", "_AIRFLOW_")


@dataclass(frozen=True)
class Ground:
    """One target with everything around it; trials on it share all but their runs."""

    target: str  # as the table calls it
    folder: Path
    database_url: str
    target_name: str = "local"
    connections: Mapping[str, str] = field(default_factory=dict)  # variables
    diaries: Path | None = None  # where scripts may write
    services: Mapping[str, Any] = field(default_factory=dict)  # what victims belong to

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace, for who looks on."""
        return Workspace(Settings(self.database_url, self.folder / "artifacts", self.local_root))

    @property
    def local_root(self) -> Path:
        """Where jobs of this machine lie."""
        return self.folder / "local"

    def variables(self, name: str, *, is_deferrable: bool) -> dict[str, str]:
        """The environment of a process of ours; the database knows its connections by name."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_HANDED_ON)}
        mltrain = {
            "DATABASE": f"{self.database_url}&application_name={name}",
            "ARTIFACTS": str(self.folder / "artifacts"),
            "LOCAL_ROOT": str(self.local_root),
            "DEFER_AFTER_SECONDS": "0" if is_deferrable else "10",
            "CANCEL_GRACE_SECONDS": "1",
            "UNREACHABLE_TIMEOUT_SECONDS": "60",
        }
        return {
            **kept,
            **self.connections,
            **{f"AIRFLOW__MLTRAIN__{key}": value for key, value in mltrain.items()},
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "-1",  # no scheduler has to be waited for
        }

    def config(self, story: Story, diary: Path) -> dict[str, Any]:
        """A run of the script, in a project like no other, so that blobs have to be sent."""
        project = self.folder / "projects" / diary.name
        project.mkdir(parents=True, exist_ok=True)
        (project / "train.py").write_text(SCRIPT)
        (project / "name").write_text(diary.name)
        config = ScriptRunConfig(
            project,
            "train.py",
            arguments=story.arguments(str(diary)),
            compute_target=self.target_name,
        )
        if story.preemptions:
            config.run_config.exit_code_policy = {PREEMPTED: "preempted"}
        return config.model_dump(mode="json")

    def diary(self, name: str) -> Path:
        """A file that the scripts of a trial write to."""
        folder = self.diaries or self.folder / "diaries"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def runs_of(self, trial: str) -> list[RunRecord]:
        """The runs of a trial, whose experiment has its name, by generation."""
        return sorted(self.workspace.history.list_runs(trial), key=lambda run: run.generation)

    def cut_history(self, name: str) -> int:
        """Break the connections of that name to the database; how many there were."""
        with closing(psycopg.connect(self.database_url, autocommit=True)) as connection:
            found = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = %s",
                [name],
            ).fetchall()
        return len(found)
