"""Dags that Airflow runs in one process, with a database and a workspace of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airflow_mltrain import Workspace
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.settings import Settings


@dataclass(frozen=True)
class DagRun:
    """A Dag run that is over, with what it left."""

    home: Path
    workspace: Workspace
    attempts: Mapping[str, list[object]]  # state and try number, by task
    log: str

    def runs(self, task_id: str) -> list[RunRecord]:
        """The training runs that a task submitted, by generation."""
        runs = [
            run
            for run in self.workspace.history.list_runs()
            if run.submission is not None and run.submission.task_id == task_id
        ]
        return sorted(runs, key=lambda run: run.generation)


def workspace_below(home: Path) -> Workspace:
    """The workspace of an Airflow home, as it is where nothing is configured."""
    folder = home / "mltrain"
    return Workspace(
        Settings(f"sqlite:///{folder}/history.db", folder / "artifacts", folder / "local")
    )


@contextmanager
def dag_test(dag: Path, folder: Path, **variables: str) -> Iterator[DagRun]:
    """Run the file of a Dag to its end, which writes its attempts to the path it is given.

    The Airflow home is `home` in the folder; deferred tasks are resumed at once.
    """
    home = folder / "home"
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dag.parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__MLTRAIN__DEFER_AFTER_SECONDS": "0",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "0",
        **variables,
    }
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, env=environment, check=True, capture_output=True)
    ended = subprocess.run(
        [sys.executable, dag, folder / "attempts"],
        env=environment,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout[-5000:]
    workspace = workspace_below(home)
    yield DagRun(home, workspace, json.loads((folder / "attempts").read_text()), ended.stdout)
    workspace.history.close()
