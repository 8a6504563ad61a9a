"""What to run: a source directory, a script or a command, its arguments, and where."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    model_validator,
)

from airflow_mltrain.absent import MEMBERS
from airflow_mltrain.config.fault import describe
from airflow_mltrain.config.local_path import read_path
from airflow_mltrain.config.model import ConfigModel, only_names_fields, validate_again
from airflow_mltrain.config.run_configuration import RunConfiguration
from airflow_mltrain.config.source import check_source
from airflow_mltrain.config.text import (
    Argument,
    NonEmptyText,
    NumberAsText,
    PlainText,
    check_length,
    is_template,
    split_arguments,
)
from airflow_mltrain.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_mltrain.config.docker_configuration import DockerConfiguration
    from airflow_mltrain.config.environment import Environment

_SHORTCUTS = {
    "compute_target": "target",
    "environment": "environment",
    "max_run_duration_seconds": "max_run_duration_seconds",
    "docker_runtime_config": "docker",
}

_ABSENT = MEMBERS["ScriptRunConfig"].keys()


def _write_path(given: object) -> object:
    return os.fspath(given) if isinstance(given, os.PathLike) else given


def _check_script(script: str) -> str:
    if is_template(script):
        return script
    path = PurePosixPath(script)
    if path.is_absolute():
        raise ValueError("it should be relative to source_directory")
    if ".." in path.parts:
        raise ValueError("it should lie inside source_directory, without '..'")
    return str(path)


def _list_arguments(given: object) -> object:
    if given is None:
        return []
    if isinstance(given, (set, frozenset)):
        raise ValueError("it should be a list, for a set has no order")  # noqa: TRY004 - pydantic collects ValueErrors
    return split_arguments(given) if isinstance(given, str) else given


def _check_program(command: list[str | int | float]) -> list[str | int | float]:
    if not command or not str(command[0]).strip():
        raise ValueError("it should begin with the program to run")
    return command


def _find_branch(given: object) -> str | None:
    if isinstance(given, str):
        return "<text>"
    return "<list>" if isinstance(given, (list, tuple)) else None


def _fill_tags(given: object) -> object:
    return {} if given is None else given


LocalPath: TypeAlias = Annotated[NonEmptyText, BeforeValidator(_write_path)]

Command: TypeAlias = Annotated[
    Annotated[list[Argument], AfterValidator(_check_program), Tag("<list>")]
    | Annotated[NonEmptyText, AfterValidator(check_length), Tag("<text>")],
    Discriminator(
        _find_branch,
        custom_error_type="command_type",
        custom_error_message="it should be a list of words, or text for /bin/sh",
    ),
]


class ScriptRunConfig(ConfigModel):
    """What to run; its `run_config` says where and in which environment.

    `compute_target`, `environment`, `max_run_duration_seconds` and `docker_runtime_config` are
    short for settings of `run_config`, and write through to it. The `run_config` that was given is
    kept, not copied, unless a shortcut has to change it.
    """

    source_directory: LocalPath
    script: Annotated[LocalPath, AfterValidator(_check_script)] | None = None
    arguments: Annotated[list[Argument], BeforeValidator(_list_arguments)] = Field(
        default_factory=list
    )
    command: Command | None = None
    run_config: RunConfiguration = Field(default_factory=RunConfiguration)
    tags: Annotated[dict[PlainText, NumberAsText], BeforeValidator(_fill_tags)] = Field(
        default_factory=dict
    )
    _origin: Any = PrivateAttr(default=None)

    @only_names_fields
    def __init__(  # noqa: PLR0913 - Azure ML's signature
        self,
        source_directory: str | os.PathLike[str],
        script: str | os.PathLike[str] | None = None,
        arguments: Sequence[str | float | os.PathLike[str]] | str | None = None,
        run_config: RunConfiguration | Mapping[str, Any] | None = None,
        *,
        compute_target: Any = None,
        environment: Environment | Mapping[str, Any] | str | None = None,
        max_run_duration_seconds: int | None = None,
        docker_runtime_config: DockerConfiguration | None = None,
        command: Sequence[str | float | os.PathLike[str]] | str | None = None,
        tags: Mapping[str, str | float] | None = None,
        **unknown: NoReturn,  # to be refused like every unknown name; type checkers allow none
    ) -> None:
        given = {
            "script": script,
            "arguments": arguments,
            "run_config": run_config,
            "compute_target": compute_target,
            "environment": environment,
            "max_run_duration_seconds": max_run_duration_seconds,
            "docker_runtime_config": docker_runtime_config,
            "command": command,
            "tags": tags,
        }
        given |= {name: unknown.pop(name) for name in _ABSENT & unknown.keys()}
        values = {name: value for name, value in given.items() if value is not None}
        super().__init__(source_directory=source_directory, **values, **unknown)

    @model_validator(mode="before")
    @classmethod
    def _follow_shortcuts(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        shortcuts = {name: given[name] for name in _SHORTCUTS if given.get(name) is not None}
        values = {name: value for name, value in given.items() if name not in _SHORTCUTS}
        if shortcuts:
            values["run_config"] = _merge(shortcuts, given.get("run_config"))
        return values

    def model_post_init(self, _context: object, /) -> None:
        """Refuse what leaves open which command line is meant."""
        if fault := self._find_fault():
            raise ValueError(fault)

    @property
    def compute_target(self) -> str:
        """The name of the compute target, `run_config.target`."""
        return self.run_config.target

    @compute_target.setter
    def compute_target(self, target: str) -> None:
        self.run_config.target = target

    @property
    def environment(self) -> Environment | str | None:
        """The environment or its name, `run_config.environment`."""
        return self.run_config.environment

    @environment.setter
    def environment(self, environment: Environment | str | None) -> None:
        self.run_config.environment = environment

    @property
    def max_run_duration_seconds(self) -> int | None:
        """How long the run may take, `run_config.max_run_duration_seconds`."""
        return self.run_config.max_run_duration_seconds

    @max_run_duration_seconds.setter
    def max_run_duration_seconds(self, seconds: int | None) -> None:
        self.run_config.max_run_duration_seconds = seconds

    @property
    def docker_runtime_config(self) -> DockerConfiguration | None:
        """Whether it needs a container, `run_config.docker`."""
        return self.run_config.docker

    @docker_runtime_config.setter
    def docker_runtime_config(self, docker: DockerConfiguration | None) -> None:
        self.run_config.docker = docker

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        source_directory: str | os.PathLike[str] | None = None,
    ) -> ScriptRunConfig:
        """Read a `.runconfig` of Azure ML's SDK, or a command job in YAML of its version 2.

        The source directory is `code` of a job, and of a `.runconfig` the project that it lies in.
        What is not here is named in one warning; ConfigurationError names it where something else
        would be run than the file says, and every key that is wrong, with its line.
        """
        from airflow_mltrain.config.config_file import load_script_run  # noqa: PLC0415

        source = None if source_directory is None else os.fspath(source_directory)
        return load_script_run(read_path(path), source)

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write it to the file that it was loaded from, or to `path`; new, it is a `.runconfig`.

        Of one that was loaded, the file keeps its order, its comments and the keys that are not
        here; only what has changed since is changed in it. ConfigurationError where the file could
        not say all of it; of a `.runconfig` the source directory is where it lies.
        """
        from airflow_mltrain.config.config_file import save_script_run  # noqa: PLC0415

        save_script_run(self, None if path is None else read_path(path))

    @property
    def origin(self) -> Any:
        """The file that it was read from; None where it was made otherwise."""
        return self._origin

    def keep_origin(self, origin: Any) -> None:
        """Remember the file that it was read from, for it may be saved again."""
        self._origin = origin

    def argv(self, interpreter: str) -> list[str]:
        """The command line, to be started in the source directory; a script by `interpreter`.

        Raises ConfigurationError where script and command were assigned and are not exactly one.
        """
        if fault := self._find_fault():
            raise ConfigurationError(f"{type(self).__name__}: {fault}")
        arguments = [str(argument) for argument in self.arguments]
        if isinstance(self.command, str):
            return ["/bin/sh", "-c", self.command]
        if self.command is not None:
            return [*map(str, self.command), *arguments]
        script = str(self.script)
        return [interpreter, f"./{script}" if script.startswith("-") else script, *arguments]

    def check(self) -> None:
        """Raise ConfigurationError where the run could not start from this file system.

        Looks again at everything that was validated before, for lists and mappings can be changed
        in place, and then at the source directory and the script in it.
        """
        validate_again(self)
        check_source(self.source_directory, self.script)

    def _find_fault(self) -> str | None:
        if self.script is None and self.command is None:
            return "neither script nor command was given; give one of them"
        if self.script is not None and self.command is not None:
            return "script and command were both given; give one of them"
        if isinstance(self.command, str) and self.arguments:
            return "arguments cannot follow a command that is text; give the command as a list"
        return None


def _merge(shortcuts: Mapping[str, Any], run_config: object) -> object:
    if run_config is None:
        run_config = {}
    if isinstance(run_config, RunConfiguration):
        run_config = _read_explicit(run_config)
    if not isinstance(run_config, Mapping):
        return run_config  # its own field refuses it
    for name, value in shortcuts.items():
        setting = _SHORTCUTS[name]
        if setting in run_config and run_config[setting] != value:
            raise ValueError(
                f"{name} is {describe(value)}, and run_config.{setting} is "
                f"{describe(run_config[setting])}; give only one of them"
            )
    return {**run_config, **{_SHORTCUTS[name]: value for name, value in shortcuts.items()}}


def _read_explicit(run_config: RunConfiguration) -> dict[str, object]:
    defaults = RunConfiguration()
    return {
        name: value
        for name, value in run_config
        if name in run_config.model_fields_set or value != getattr(defaults, name)
    }
