"""The run that a script is, its children, and what it can ask of them."""
# ruff: noqa: ARG002, FBT001, FBT002, SLF001  # Azure ML's signatures; a run makes other runs

import os
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional, Sequence

from .context import (
    CHILD_VARIABLE,
    OFFLINE_VARIABLE,
    PREVIOUS_OUTPUTS_VARIABLE,
    JobContext,
    find_context,
)
from .journal import say
from .run_log import RunLog

if TYPE_CHECKING:
    from .experiment import Experiment
    from .statement import Story

_ENDED = ("Completed", "Failed", "Canceled")
_LONGEST_REASON = 4000


class Run(RunLog):
    """The run that the calling script is, or a child of it; `get_context` gives the one there is.

    What a script does is the same whether it was submitted or not. Offline what it logs is shown,
    and forgotten when it ends; its files stay in `outputs/` of the working directory.
    """

    _context: Optional["Run"] = None

    def __init__(self, job: JobContext, run_id: str) -> None:
        super().__init__(job.journal, run_id, is_child=run_id != job.run_id)
        self._job = job

    @classmethod
    def get_context(cls, allow_offline: bool = True, **_: Any) -> "Run":
        """The run of this process; the same object every time.

        Outside of a run it shows what is logged, or raises RuntimeError without `allow_offline`.
        """
        if cls._context is None:
            job = find_context()
            is_offline = job.is_offline or OFFLINE_VARIABLE in os.environ
            if is_offline and not allow_offline:
                raise RuntimeError("this script was not submitted as a run")
            child_id = os.environ.get(CHILD_VARIABLE, job.run_id)
            cls._context = (_OfflineRun if is_offline else Run)(job, child_id)
        return cls._context

    @property
    def id(self) -> str:
        """The run id; starts with `OfflineRun_` outside of a run."""
        return self._id

    @property
    def number(self) -> int:
        """The how-manieth run of its experiment it was when it was submitted; 1 offline."""
        return int(self._job.facts.get("number", 1))

    @property
    def previous_outputs(self) -> Optional[str]:
        """The folder with what the run before this one left, which failed; None if there is none.

        It is a copy: what a script does to it changes that run's outputs as little as its own.
        """
        return os.environ.get(PREVIOUS_OUTPUTS_VARIABLE)

    @property
    def experiment(self) -> "Experiment":
        """Its experiment, by `name`; the `workspace` is out of a script's reach."""
        from .experiment import Experiment  # noqa: PLC0415  # few scripts ask

        return Experiment(str(self._job.facts.get("experiment", "offline")))

    @property
    def parent(self) -> Optional["Run"]:
        """The run that this one is a child of; None where it was submitted by itself."""
        parent = self._story.parent
        return self._run(parent) if parent else None

    @property
    def display_name(self) -> str:
        """What the run is called for people; its id until it is set."""
        return self._story.display_name or self._id

    @display_name.setter
    def display_name(self, name: str) -> None:
        self._write("display_name", name, None)

    @property
    def name(self) -> str:
        """The same as `display_name`."""
        return self.display_name

    @property
    def status(self) -> str:
        """The same as `get_status`."""
        return self.get_status()

    @property
    def input_datasets(self) -> Dict[str, Any]:
        """None: data reaches a script by the paths in its arguments."""
        return {}

    @property
    def output_datasets(self) -> Dict[str, Any]:
        """None: what a script writes to `outputs/` is kept."""
        return {}

    def get_status(self) -> str:
        """Running, until a child has said or shown how it ended."""
        return self._story.status

    def get_tags(self) -> Dict[str, str]:
        """The tags, those of the config and those that scripts of this job have set."""
        return {**self._given("tags"), **self._story.tags}

    def get_properties(self) -> Dict[str, str]:
        """The properties, those of the submission and those that scripts have added."""
        return {**self._story.properties, **self._given("properties")}

    def get_metrics(
        self,
        name: Optional[str] = None,
        recursive: bool = False,
        run_type: Any = None,
        populate: bool = False,
    ) -> Dict[str, Any]:
        """What was logged so far by name, or with `recursive` that of every child by its id too.

        A name logged once has that value, one logged again the list of its values, and rows of
        one name are a table: a dictionary of columns.
        """
        children = self.get_children(recursive=True) if recursive else ()
        ids = [self._id, *(child.id for child in children)]
        found = self._job.statements.metrics_of(ids, name)
        return found if recursive else found[self._id]

    def get_details(self) -> Dict[str, Any]:
        """What is known of the run here, under Azure ML's names."""
        facts = self._job.facts
        return {
            "runId": self._id,
            "target": facts.get("target", "local"),
            "status": self.get_status(),
            "startTimeUtc": facts.get("started_at"),
            "endTimeUtc": None,
            "error": self._story.error or None,
            "properties": self.get_properties(),
            "tags": self.get_tags(),
            "runDefinition": facts.get("definition", {}),
        }

    def get_environment(self) -> Any:
        """The environment that was asked for, its parts as attributes; None where none was."""
        from .section import Section  # noqa: PLC0415  # few scripts ask

        run_config = self._job.facts.get("definition", {}).get("run_config") or {}
        found = run_config.get("environment")
        return Section(found) if isinstance(found, dict) else None

    def log_image(
        self, name: str, path: Optional[str] = None, plot: Any = None, description: str = ""
    ) -> None:
        """Log an image: the path of its file, or a figure of matplotlib, or pyplot itself."""
        if (path is None) == (plot is None):
            raise ValueError("give either the path of an image or a plot")
        if plot is not None and not hasattr(plot, "savefig"):
            kind = type(plot).__name__
            raise TypeError("cannot draw {}: give a figure of matplotlib".format(kind))
        artifacts = self._job.artifacts
        kept = (
            artifacts.draw(name, plot)
            if path is None
            else artifacts.keep_image(name, os.fspath(path))
        )
        self._write("metric", name, kept, kind="image")

    def upload_file(self, name: str, path_or_stream: Any, datastore_name: Any = None) -> None:
        """Keep a copy of a file, or of what a stream has, as `outputs/...` or `logs/...`.

        Any other name is one below `outputs/`. FileExistsError where that name is taken.
        """
        self._job.artifacts.keep(name, path_or_stream)

    def upload_files(self, names: Sequence[str], paths: Sequence[str], **_: Any) -> None:
        """Keep several files, each as `upload_file` does."""
        if len(names) != len(paths):
            raise ValueError("{} names for {} paths".format(len(names), len(paths)))
        for name, path in zip(names, paths):  # noqa: B905  # since Python 3.10
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: str, datastore_name: Any = None) -> None:
        """Keep copies of all files below a folder, each as `upload_file` does."""
        self._job.artifacts.keep_folder(name, os.fspath(path))

    def get_file_names(self) -> List[str]:
        """What would be kept if the run ended now: `outputs/...` and `logs/...`."""
        return self._job.artifacts.names()

    def download_file(self, name: str, output_file_path: Optional[str] = None, **_: Any) -> None:
        """Copy a kept file; by default to its own name in the current directory."""
        import shutil  # noqa: PLC0415  # dear at start-up

        destination = output_file_path or os.path.basename(name)
        if os.path.isdir(destination):
            destination = os.path.join(destination, os.path.basename(name))
        shutil.copyfile(self._job.artifacts.path(name), destination)

    def register_model(
        self,
        model_name: str,
        model_path: Optional[str] = None,
        tags: Optional[Dict[str, Any]] = None,
        properties: Optional[Dict[str, Any]] = None,
        model_framework: Optional[str] = None,
        model_framework_version: Optional[str] = None,
        description: Optional[str] = None,
        **not_kept: Any,
    ) -> Any:
        """Record a file or folder of the outputs as a model, with the run; returns a `Model`.

        `model_path` is the name that it is kept under, by default `model_name`;
        FileNotFoundError where there is none.
        """
        from .model import Model  # noqa: PLC0415  # once in a run
        from .value import as_text  # noqa: PLC0415

        place = self._job.artifacts.path(model_path or model_name)
        facts = {
            "path": os.path.relpath(place, self._job.code).replace(os.sep, "/"),
            "tags": {str(key): as_text(value) for key, value in (tags or {}).items()},
            "properties": {str(key): as_text(value) for key, value in (properties or {}).items()},
            "framework": model_framework,
            "framework_version": model_framework_version,
            "description": description,
        }
        ignored = sorted(name for name, value in not_kept.items() if value is not None)
        if ignored:
            say("model {!r}: not kept: {}".format(model_name, ", ".join(ignored)))
        self._write("model", model_name, facts)
        return Model(name=model_name, path=facts["path"], facts=facts, run_id=self._id)

    def child_run(
        self, name: Optional[str] = None, run_id: Optional[str] = None, outputs: Any = None
    ) -> "Run":
        """Begin a child: a run of its own in the history, logged by this script.

        As a context manager it is completed at the end, or failed by an exception. `run_id` is
        what its id ends with.
        """
        return self._make_child(name, run_id, {})

    def create_children(
        self,
        count: Optional[int] = None,
        tag_key: Optional[str] = None,
        tag_values: Optional[Sequence[Any]] = None,
    ) -> List["Run"]:
        """Begin several children, by their number or one for each value of a tag."""
        from .child import choose_tag_values  # noqa: PLC0415  # few scripts have any

        values = choose_tag_values(count, tag_key, tag_values)
        children = [self.child_run() for _ in values]
        if tag_key is not None:
            for child, value in zip(children, values):  # noqa: B905  # since Python 3.10
                child.tag(tag_key, value)
        return children

    def submit_child(
        self, config: Any, tags: Optional[Dict[str, Any]] = None, **kwargs: Any
    ) -> "Run":
        """Run another script as a child: a process of the same job, in the same environment.

        It begins at once, and `wait_for_completion` waits for it; one that still runs when this
        script ends is stopped. What it prints is in `logs/<its run id>.txt`.
        """
        from . import child_process  # noqa: PLC0415  # few scripts have any

        described = {"script": config.script, "command": config.command or None}
        described.update(arguments=config.arguments, source_directory=config.source_directory)
        child = self._make_child(None, None, {"config": described})
        child.set_tags(tags or {})
        try:
            child_process.start(self._job, child.id, config, child._end)
        except (OSError, ValueError) as error:
            child._end("Failed", str(error))
            raise
        return child

    def get_children(
        self,
        recursive: bool = False,
        tags: Any = None,
        properties: Any = None,
        type: Optional[str] = None,  # noqa: A002
        status: Optional[str] = None,
        **_: Any,
    ) -> Iterator["Run"]:
        """The children, in the order in which they were made; `tags` and others choose some."""
        from .child import has  # noqa: PLC0415  # few scripts have any

        for run_id in self._job.statements.children_of(self._id):
            child = self._run(run_id)
            # What a script begins has no type, so that none is meant where one is asked for.
            is_asked = type is None and status in (None, child.get_status())
            if is_asked and has(child.get_tags, tags) and has(child.get_properties, properties):
                yield child
            if recursive:
                yield from child.get_children(
                    recursive=True, tags=tags, properties=properties, type=type, status=status
                )

    def start(self) -> None:
        """Do nothing: a run has begun."""

    def complete(self, _set_status: bool = True) -> None:
        """Say that a child has reached its end; how a script's own run ended, its exit says."""
        if self._is_own_end():
            self._end("Completed", "")

    def fail(
        self, error_details: Any = None, error_code: Any = None, _set_status: bool = True
    ) -> None:
        """Say that a child failed. A script's own run notes the words; its exit code decides."""
        details = "" if error_details is None else str(error_details)
        words = "{}: {}".format(error_code, details) if error_code else details
        if self._is_own_end():
            self._end("Failed", words)
        elif words:
            self.add_properties({"error_details": words})

    def cancel(self) -> None:
        """Have a child stopped; or the script's own run, when one who follows it sees this."""
        from . import child_process  # noqa: PLC0415  # few scripts have any

        child = child_process.find(self._id)
        if child is not None:
            child.cancel()
        elif self._is_child:
            self._end("Canceled", "")
        else:
            self._write("status", "CancelRequested", "")

    def wait_for_completion(
        self,
        show_output: bool = False,
        wait_post_processing: bool = False,
        raise_on_error: bool = True,
    ) -> Dict[str, Any]:
        """Wait until a child has ended; RuntimeError where it failed, with `raise_on_error`."""
        from . import child_process  # noqa: PLC0415  # few scripts have any

        if self._id == Run.get_context().id:
            raise RuntimeError("a script cannot wait for the end of its own run")
        log = os.path.join(self._job.code, "logs", self._id + ".txt")
        child_process.wait_for(
            self._id, lambda: self.get_status() in _ENDED, log if show_output else None
        )
        if raise_on_error and self.get_status() == "Failed":
            end = child_process.end_of(log)
            shown = "\nThe end of its log:\n" + end if end else ""
            raise RuntimeError("{} failed: {}{}".format(self._id, self._story.error, shown))
        return self.get_details()

    def get_secret(self, name: str) -> str:
        """Refused: no key vault is in reach of a script."""
        from .absent import find_absent  # noqa: PLC0415

        keyvault: Any = find_absent("Keyvault")
        return str(keyvault.get_secret(name))

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        if kind is None:
            self.complete()
        else:
            self.fail("{}: {}".format(kind.__name__, error))

    def __repr__(self) -> str:
        return "Run(experiment={!r}, id={!r})".format(self.experiment.name, self._id)

    @property
    def _is_child(self) -> bool:
        return self._id != self._job.run_id

    @property
    def _story(self) -> "Story":
        return self._job.statements.of(self._id)

    def _given(self, what: str) -> Dict[str, str]:
        return {} if self._is_child else dict(self._job.facts.get(what, {}))

    def _run(self, run_id: str) -> "Run":
        return type(self)(self._job, run_id)

    def _is_own_end(self) -> bool:
        """Whether this process says how the run ends; of its own run the exit code does."""
        return self._is_child and self._id != os.environ.get(CHILD_VARIABLE)

    def _end(self, status: str, reason: str) -> None:
        if self.get_status() not in _ENDED:
            self._write("status", status, reason[:_LONGEST_REASON])

    def _make_child(self, name: Optional[str], ending: Optional[str], facts: Any) -> "Run":
        from .child import name_child  # noqa: PLC0415  # few scripts have any

        child_id = name_child(self._id, ending)
        if self._job.statements.of(child_id).parent:
            raise ValueError("there is a child {!r} already".format(child_id))
        child = self._run(child_id)
        child._write("child", name or child_id, dict(facts, parent=self._id))
        return child


class _OfflineRun(Run):
    """A run that nobody submitted; scripts written for Azure ML ask whether it is one."""
