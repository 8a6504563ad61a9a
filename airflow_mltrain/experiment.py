"""An experiment: a named group of runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from html import escape
from typing import Any, Final, TypeAlias

from airflow_mltrain import submission
from airflow_mltrain.absent import Explaining, refuse_given
from airflow_mltrain.config.fault import describe
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.errors import ConfigurationError, RunHistoryError
from airflow_mltrain.run import Run
from airflow_mltrain.run_view import render_runs
from airflow_mltrain.runs.choice import Filter, has, tag_texts
from airflow_mltrain.runs.record import ExperimentRecord
from airflow_mltrain.workspace import Workspace

_VIEWS: Final = {"ActiveOnly": (False,), "ArchivedOnly": (True,), "All": (False, True)}

_Experiments: TypeAlias = "list[Experiment]"  # within the class, `list` is its method


class Experiment(Explaining):
    """A named group of runs in a workspace; it exists as soon as it has a run."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.workspace = workspace
        self.name = name

    def submit(
        self,
        config: ScriptRunConfig,
        tags: Mapping[str, str | float | None] | None = None,
        **kwargs: Any,
    ) -> Run:
        """Start a run of this config in the background and return it; every call is a new run.

        `tags` join those of the config, as text; `kwargs` are refused.
        The source directory is stored as it is now, so it may be edited while the run goes on.
        Raises ConfigurationError, SnapshotError or TargetError, before anything was started.
        """
        remedies = dict.fromkeys(kwargs, "change the config before it is submitted")
        refuse_given("Experiment.submit", remedies, kwargs)
        if not isinstance(config, ScriptRunConfig):
            raise ConfigurationError(
                f"Experiment.submit: {describe(config)} was given; it should be a ScriptRunConfig "
                "or an Estimator"
            )
        if tags:
            config = config.model_copy()
            config.tags = {**config.tags, **tag_texts(tags)}
        record = submission.submit(self.workspace, self.name, config)
        return Run(self, record.run_id)

    def get_runs(
        self,
        type: str | None = None,  # noqa: A002
        tags: Filter = None,
        properties: Filter = None,
        include_children: bool = False,  # noqa: FBT001, FBT002 - as Azure ML spells it
    ) -> Iterator[Run]:
        """The experiment's runs, newest first, as `Run.list` gives them."""
        return Run.list(self, type, tags, properties, include_children=include_children)

    @property
    def id(self) -> str:
        """Its name, by which it is known."""
        return self.name

    @property
    def archived_time(self) -> datetime | None:
        """When it was archived; None where it is not, or has had a run since."""
        record = self._find()
        return None if record is None else record.archived_at

    @property
    def tags(self) -> dict[str, str]:
        """The experiment's tags."""
        record = self._find()
        return {} if record is None else dict(record.tags)

    def tag(self, key: str, value: str | float | None = None) -> None:
        """Set a tag of the experiment."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, str | float | None]) -> None:
        """Set some tags of the experiment; the rest stay. It needs a run first."""
        self._require()
        self.workspace.history.experiments.tag(self.name, tag_texts(tags))

    def remove_tags(self, tags: Iterable[str]) -> None:
        """Remove these tags of the experiment."""
        self._require()
        names = [tags] if isinstance(tags, str) else tags
        self.workspace.history.experiments.tag(self.name, dict.fromkeys(names))

    def archive(self) -> None:
        """Take it off the list; its runs stay, and the next one puts it back."""
        self._require()
        self.workspace.history.experiments.archive(self.name, datetime.now(timezone.utc))

    def reactivate(self, new_name: str | None = None) -> None:
        """Put an archived experiment back on the list; `new_name` is refused."""
        remedies = {"new_name": "the runs of an experiment keep its name"}
        refuse_given("Experiment.reactivate", remedies, {"new_name": new_name})
        self._require()
        self.workspace.history.experiments.archive(self.name, None)

    def refresh(self) -> None:
        """Do nothing: what is known of an experiment is read when it is asked for."""

    @staticmethod
    def list(
        workspace: Workspace,
        experiment_name: str | None = None,
        view_type: str = "ActiveOnly",
        tags: Filter = None,
    ) -> _Experiments:
        """The experiments that have a run, by name: "ActiveOnly", "ArchivedOnly" or "All"."""
        if view_type not in _VIEWS:
            raise ConfigurationError(
                f"view_type={view_type!r}: it should be one of {', '.join(_VIEWS)}"
            )
        return [
            Experiment(workspace, record.name)
            for record in workspace.history.experiments.list(experiment_name)
            if (record.archived_at is not None) in _VIEWS[view_type] and has(record.tags, tags)
        ]

    def __repr__(self) -> str:
        return f"Experiment(name={self.name!r})"

    def _repr_html_(self) -> str:
        """The newest runs in a notebook, as the run history knows them now."""
        try:
            return render_runs(self.name, self.workspace.history.list_runs(self.name, limit=21))
        except RunHistoryError:
            return escape(repr(self))

    def _find(self) -> ExperimentRecord | None:
        return next(iter(self.workspace.history.experiments.list(self.name)), None)

    def _require(self) -> None:
        if self._find() is None:
            raise ConfigurationError(
                f"experiment {self.name!r} has no run in the run history "
                f"{self.workspace.history.address}; it is there once a run was submitted to it"
            )
