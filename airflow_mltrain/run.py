"""A run: one execution of a script, as a user sees it."""

from __future__ import annotations

import codecs
import logging
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from airflow_mltrain import kept_files, progress, submission
from airflow_mltrain.absent import Explaining, refuse_given
from airflow_mltrain.completion import follow_to_completion, require_success
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.environments.pin import pin_environment
from airflow_mltrain.errors import (
    ArtifactError,
    ConfigurationError,
    RunHistoryError,
    WaitTimeoutError,
)
from airflow_mltrain.run_view import render_html, view_run
from airflow_mltrain.runs.choice import (
    Filter,
    choose_statuses,
    is_chosen,
    name_tags,
    tag_texts,
    type_of,
)
from airflow_mltrain.runs.exit_action import is_preempted
from airflow_mltrain.runs.record import ModelRecord, RunRecord
from airflow_mltrain.runs.series import arrange_metrics
from airflow_mltrain.runs.status import RunStatus

if TYPE_CHECKING:
    from airflow_mltrain.experiment import Experiment
    from airflow_mltrain.workspace import Workspace

log = logging.getLogger(__name__)

_PAGE: Final = 100
_SNAPSHOT_ID: Final = re.compile(r"[0-9a-f]{64}")

_Names: TypeAlias = list[str]  # within the class, `list` is its method
_Paths: TypeAlias = Sequence[str | Path]


class Run(Explaining):
    """One execution of a script; a light handle on what the run history and the target know."""

    def __init__(self, experiment: Experiment, run_id: str) -> None:
        self.experiment = experiment
        self.id = run_id

    @classmethod
    def get(cls, workspace: Workspace, run_id: str) -> Run:
        """The run of that id; raises RunNotFoundError."""
        from airflow_mltrain.experiment import Experiment  # noqa: PLC0415 - it makes runs

        record = workspace.history.get(run_id)
        return cls(Experiment(workspace, record.experiment), run_id)

    @staticmethod
    def get_context(allow_offline: bool = True) -> Any:  # noqa: FBT001, FBT002 - as in Azure ML
        """The run that the calling script is, as `mltrain.Run.get_context` gives it."""
        import mltrain  # noqa: PLC0415 - nothing for who submits

        return mltrain.Run.get_context(allow_offline)

    def get_status(self) -> RunStatus:
        """Where the run stands now; asks its target where it has not ended."""
        return progress.refresh(self._workspace, self.id).status

    def wait_for_completion(
        self,
        show_output: bool = False,  # noqa: FBT001, FBT002 - as Azure ML spells it
        wait_post_processing: bool = False,  # noqa: FBT001, FBT002, ARG002
        raise_on_error: bool = True,  # noqa: FBT001, FBT002
        *,
        timeout_seconds: float | None = None,
    ) -> dict[str, Any]:
        """Wait until the run has ended and its outputs are kept; return `get_details()`.

        With `show_output` its log is written to standard output as it grows. A failed run raises
        RunFailedError unless `raise_on_error` is False; a canceled one does not. WaitTimeoutError
        says that `timeout_seconds` were over first; the run goes on. Outputs are waited for in
        any case, so `wait_post_processing` changes nothing.

        A run that was preempted, by the exit code policy of its config, is started again and
        waited for: this is then that run, with another `id`.

        A compute target or a run history that does not answer is waited for; its silence and its
        return are logged. UnreachableTimeoutError says that it lasted longer than `[mltrain]
        unreachable_timeout_seconds`; the run goes on then too.
        """
        deadline = math.inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        show = _print_log() if show_output else lambda _: None
        record = None
        for record in follow_to_completion(self._workspace, self.id, deadline, show):
            self.id = record.run_id  # another one once a preempted run goes on
        if record is None or not record.status.is_terminal or is_preempted(record):
            raise WaitTimeoutError(
                f"run {self.id} is still {_standing(record)} after {timeout_seconds} seconds; it "
                "goes on, and can be waited for again"
            )
        if raise_on_error and record.status is RunStatus.FAILED:
            require_success(self._workspace, record)
        return self.get_details()

    def cancel(self) -> None:
        """Have the run and every process it started stopped; returns before they are gone.

        They get a grace period for a checkpoint. A run that has ended stays as it is, and one that
        was preempted does not go on.
        """
        submission.cancel(self._workspace, self.id)

    def get_metrics(
        self,
        name: str | None = None,
        recursive: bool = False,  # noqa: FBT001, FBT002
        run_type: str | None = None,
        populate: bool = False,  # noqa: FBT001, FBT002, ARG002 - values are whole in any case
    ) -> dict[str, Any]:
        """What the script has logged so far, by name.

        A name logged once has that value, one logged again the list of its values, and rows of one
        name are a table: a dictionary of columns. With `recursive` those of every child too, each
        run's by its id.
        """
        refuse_given("Run.get_metrics", {}, {"run_type": run_type})
        progress.refresh(self._workspace, self.id)
        history = self._workspace.history
        if not recursive:
            return arrange_metrics(history.get_metrics(self.id, name))
        runs = [self, *self.get_children(recursive=True)]
        return {run.id: arrange_metrics(history.get_metrics(run.id, name)) for run in runs}

    def get_details(self) -> dict[str, Any]:
        """What is known of the run, under Azure ML's names.

        `logFiles` says where the log lies once the run has ended, by the names of its files.
        """
        record = self._record()
        kept = None
        try:
            if record.status.is_terminal:
                kept = self._workspace.artifacts.find_run(self.id)
        except ArtifactError as error:
            log.warning("where the logs of run %s lie cannot be told: %s", self.id, error)
        files = [] if kept is None else kept.list_files()
        return {
            "runId": record.run_id,
            "target": record.target,
            "status": str(record.status),
            "startTimeUtc": record.started_at.isoformat() if record.started_at else None,
            "endTimeUtc": record.ended_at.isoformat() if record.ended_at else None,
            "exitCode": record.exit_code,
            "error": record.error,
            "warnings": [],
            "properties": {**record.properties, "ContentSnapshotId": record.snapshot_id},
            "tags": dict(record.tags),
            "inputDatasets": [],
            "outputDatasets": [],
            "runDefinition": record.config,
            "logFiles": {
                file.name: kept.uri(file.name)
                for file in files
                if kept and (file.name == kept_files.LOG or file.name.startswith("logs/"))
            },
        }

    def get_details_with_logs(self) -> dict[str, Any]:
        """As `get_details`, with the content of each log in `logFiles`, also of one that grows."""
        logs = kept_files.read_logs(self._workspace, self.id)
        texts = {name: content.decode(errors="replace") for name, content in logs.items()}
        return {**self.get_details(), "logFiles": texts}

    def get_all_logs(self, destination: str | Path | None = None) -> _Names:
        """Write the logs as files, by default below `assets/<run id>`; returns their paths."""
        folder = Path(destination or Path("assets") / self.id)
        written = []
        for name, content in kept_files.read_logs(self._workspace, self.id).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            written.append(str(path))
        return written

    def get_detailed_status(self) -> dict[str, Any]:
        """Where the run stands, and why if it failed."""
        record = progress.refresh(self._workspace, self.id)
        return {"status": str(record.status), "details": record.error, "cause": None}

    def get_environment(self) -> Environment | None:
        """What the run really used: its environment with the exact packages that were installed.

        Submitted again, it builds the same. Until the run is prepared, and where nothing was
        built, the environment as it was asked for; None where none was.
        """
        record = progress.refresh(self._workspace, self.id)
        asked = ScriptRunConfig.model_validate(record.config).run_config.environment
        if record.environment_key is None or not isinstance(asked, Environment):
            return asked if isinstance(asked, Environment) else None
        resolved = self._workspace.history.find_resolved(record.environment_key)
        return asked if resolved is None else pin_environment(asked, resolved)

    @property
    def status(self) -> str:
        """The same as `get_status`, as text."""
        return str(self.get_status())

    @property
    def type(self) -> str | None:
        """`azureml.scriptrun` for every run that was submitted; None for one its script began."""
        return type_of(self._record())

    @property
    def tags(self) -> dict[str, str]:
        """The same as `get_tags`."""
        return self.get_tags()

    @property
    def properties(self) -> dict[str, str]:
        """The same as `get_properties`."""
        return self.get_properties()

    def get_tags(self) -> dict[str, str]:
        """The run's tags, from its config, from its script, and from `tag`."""
        return dict(self._record().tags)

    def tag(self, key: str, value: str | float | None = None) -> None:
        """Set a tag, before or after the run's end."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, str | float | None]) -> None:
        """Set some tags; the rest stay. Numbers become text, and None is empty text."""
        self._workspace.history.annotate(self.id, tags=tag_texts(tags))

    def remove_tags(self, tags: Iterable[str] | str) -> None:
        """Remove these tags; those that are not there are none the less gone."""
        names = [tags] if isinstance(tags, str) else tags
        self._workspace.history.annotate(self.id, tags=dict.fromkeys(names))

    def get_properties(self) -> dict[str, str]:
        """What was noted when the run was submitted, and by its script."""
        return dict(self._record().properties)

    def add_properties(self, properties: Mapping[str, str | float]) -> None:
        """Add properties; raises ConfigurationError where one is there, for they never change."""
        added = tag_texts(properties)
        known = self.get_properties()
        if taken := sorted(name for name in added if known.get(name, added[name]) != added[name]):
            raise ConfigurationError(
                f"run {self.id} has these properties, which never change: {', '.join(taken)}; "
                "give others, or set a tag"
            )
        self._workspace.history.annotate(self.id, properties=added)

    @property
    def display_name(self) -> str:
        """What the run is called for people; its id until that is set, here or by its script."""
        return self._record().display_name or self.id

    @display_name.setter
    def display_name(self, name: str) -> None:
        self._workspace.history.annotate(self.id, display_name=str(name))

    @property
    def name(self) -> str:
        """The same as `display_name`."""
        return self.display_name

    @property
    def number(self) -> int:
        """The how-manieth run of its experiment it is; a child has the number of its parent."""
        history = self._workspace.history
        return history.number_of(history.find_submitted(self.id))

    @property
    def parent(self) -> Run | None:
        """The run whose script began this one; None where it was submitted."""
        parent_run_id = self._record().parent_run_id
        return None if parent_run_id is None else Run(self.experiment, parent_run_id)

    def get_children(
        self,
        recursive: bool = False,  # noqa: FBT001, FBT002
        tags: Filter = None,
        properties: Filter = None,
        type: str | None = None,  # noqa: A002
        status: str | None = None,
        _rehydrate_runs: bool = True,  # noqa: FBT001, FBT002
    ) -> Iterator[Run]:
        """The runs that its script has begun so far, in that order.

        Only those with these tags and properties, a name or names and values, and this status.
        """
        statuses = choose_statuses(status)
        progress.refresh(self._workspace, self.id)
        pending = self._workspace.history.list_children(self.id)
        while pending:
            child = pending.pop(0)
            is_asked = not statuses or child.status in statuses
            if is_asked and is_chosen(child, tags, properties, type):
                yield Run(self.experiment, child.run_id)
            if recursive:
                pending = self._workspace.history.list_children(child.run_id) + pending

    def get_models(self) -> list[ModelRecord]:
        """The models that its script has registered so far: name, and facts such as `path`."""
        progress.refresh(self._workspace, self.id)
        return self._workspace.history.get_models(self.id)

    def get_file_names(self) -> _Names:
        """The kept files: `log`, `outputs/...` and `logs/...`; none before the run's end."""
        return kept_files.list_files(self._workspace, self.id)

    def download_file(
        self,
        name: str,
        output_file_path: str | Path | None = None,
        _validate_checksum: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Copy one kept file; by default to its own name in the current directory.

        Raises ArtifactError where the run kept no such file.
        """
        destination = Path(output_file_path or Path(name).name)
        kept_files.download(self._workspace, self.id, name, destination)

    def download_files(
        self,
        prefix: str | None = None,
        output_directory: str | Path | None = None,
        output_paths: _Paths | None = None,
        batch_size: int = 100,  # noqa: ARG002 - a file is copied after the other
        append_prefix: bool = True,  # noqa: FBT001, FBT002
        timeout_seconds: float | None = None,
    ) -> None:
        """Copy the kept files whose names start with `prefix`, with their folders.

        They go below `output_directory`, by default the current one, without the prefix unless
        `append_prefix`; or each to its place in `output_paths`. Raises ConfigurationError where
        two would go to one place.
        """
        refuse_given("Run.download_files", {}, {"timeout_seconds": timeout_seconds})
        chosen = kept_files.choose_names(
            self._workspace,
            self.id,
            prefix or "",
            output_paths,
            Path(output_directory or ""),
            append_prefix=append_prefix,
        )
        for name, path in chosen.items():
            kept_files.copy(self._workspace, self.id, name, path)

    def get_snapshot_id(self) -> str:
        """The id of the source directory as it was submitted."""
        return self._record().snapshot_id

    def restore_snapshot(
        self, snapshot_id: str | None = None, path: str | Path | None = None
    ) -> Path:
        """Lay out the source directory as it was submitted, in a new folder, and return it.

        `snapshot_id` is another run's, `path` by default a folder with the name of this run's id.
        """
        if snapshot_id is not None and not _SNAPSHOT_ID.fullmatch(str(snapshot_id)):
            raise ConfigurationError(
                f"{str(snapshot_id)!r} is no snapshot id; give the folder as path="
            )
        destination = Path(path or self.id)
        try:
            is_taken = destination.exists() and any(destination.iterdir())
        except OSError as error:
            raise ConfigurationError(
                f"{destination} cannot be used: {error.strerror}; name a new folder"
            ) from error
        if is_taken:
            raise ConfigurationError(f"{destination} is not empty; name a new folder")
        artifacts = self._workspace.artifacts
        artifacts.restore_snapshot(snapshot_id or self.get_snapshot_id(), destination)
        return destination

    @staticmethod
    def list(
        experiment: Experiment,
        type: str | None = None,  # noqa: A002
        tags: Filter = None,
        properties: Filter = None,
        status: str | None = None,
        include_children: bool = False,  # noqa: FBT001, FBT002
        _rehydrate_runs: bool = True,  # noqa: FBT001, FBT002
    ) -> Iterator[Run]:
        """The experiment's runs, newest first, read as they are asked for.

        Only those with these tags and properties, a name or names and values, and this status.
        Where they stand is as the history knows; `get_status` of each asks its target.
        """
        asked = {"statuses": choose_statuses(status), "tags": name_tags(tags)}
        records = _read_runs(experiment, include_children=include_children, **asked)
        return (
            Run(experiment, record.run_id)
            for record in records
            if is_chosen(record, tags, properties, type)
        )

    def __repr__(self) -> str:
        return f"Run(experiment={self.experiment.name!r}, id={self.id!r})"

    def _repr_html_(self) -> str:
        """The run in a notebook, as the run history knows it now."""
        try:
            return render_html(view_run(self._workspace, self._record()))
        except RunHistoryError:
            return escape(repr(self))

    @property
    def _workspace(self) -> Workspace:
        return self.experiment.workspace

    def _record(self) -> RunRecord:
        return self._workspace.history.get(self.id)


ScriptRun = Run  # what submitting a script gives; Azure ML has a class for it


def _print_log() -> Callable[[bytes], None]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def show(content: bytes) -> None:
        sys.stdout.write(decoder.decode(content))
        sys.stdout.flush()

    return show


def _standing(record: RunRecord | None) -> str:
    if record is None:
        return "unobserved"
    return "preempted" if is_preempted(record) else record.status


def _read_runs(experiment: Experiment, **asked: Any) -> Iterator[RunRecord]:
    """The experiment's runs, newest first, a page when it is needed."""
    history, last = experiment.workspace.history, None
    while page := history.list_runs(experiment.name, limit=_PAGE, before=last, **asked):
        yield from page
        last = page[-1].run_id
