"""An experiment: a named group of runs."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_mltrain import submission
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.run import Run
from airflow_mltrain.workspace import Workspace


class Experiment:
    """A named group of runs in a workspace; it exists as soon as it has a run."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.workspace = workspace
        self.name = name

    def submit(self, config: ScriptRunConfig, tags: Mapping[str, str] | None = None) -> Run:
        """Start a run of this config in the background and return it; every call is a new run.

        `tags` join those of the config.
        The source directory is stored as it is now, so it may be edited while the run goes on.
        Raises ConfigurationError, SnapshotError or TargetError, before anything was started.
        """
        if tags:
            config = config.model_copy(update={"tags": {**config.tags, **tags}})
        record = submission.submit(self.workspace, self.name, config)
        return Run(self, record.run_id)

    def get_runs(self, limit: int = 100) -> list[Run]:
        """The experiment's runs, newest first."""
        records = self.workspace.history.list_runs(self.name, limit=limit)
        return [Run(self, record.run_id) for record in records]

    def __repr__(self) -> str:
        return f"Experiment(name={self.name!r})"
