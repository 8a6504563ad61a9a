"""Script run configs and run configurations in files: those of Azure ML's SDK, 1 and 2."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped] # its stubs are a package of their own

from airflow_mltrain.config.command_job_reading import CommandJobReading
from airflow_mltrain.config.conda_section import change_packages
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.file_keys import Lack, report
from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.config.project_file import find_file, project_of
from airflow_mltrain.config.run_config_reading import RunConfigReading
from airflow_mltrain.config.run_config_writing import write_run_configuration
from airflow_mltrain.config.run_configuration import RunConfiguration
from airflow_mltrain.config.saved_file import write_whole
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.config.yaml_document import Location, YamlDocument, construct, read_text
from airflow_mltrain.errors import ConfigurationError

_JOB_KEYS: Final = ("$schema", "type", "code", "compute", "inputs", "experiment_name")
_ENVIRONMENT: Final = ("environment",)
_FOR_SCRIPT: Final = ("script", "command", "arguments", "tags")


@dataclass(frozen=True, eq=False)
class Origin:
    """The file that a config was read from, and what it said; it makes no two configs differ."""

    document: YamlDocument
    values: Mapping[Location, Any]

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Origin)

    __hash__ = None  # type: ignore[assignment]

    def __deepcopy__(self, _: object) -> Origin:
        return self


def load_script_run(path: Path, source_directory: str | None) -> ScriptRunConfig:
    """Read a `.runconfig` or a command job; see `ScriptRunConfig.load`."""
    document = YamlDocument.read(path)
    config, lacks = _make_script_run(document, source_directory)
    report(document, lacks)
    values = _values_of(document, config, path)
    if ("code",) in values:  # what the file says of it, whatever was given in its place
        values["code",] = os.path.normpath(document.data["code"])
    config.keep_origin(Origin(document, values))
    return config


def load_run_configuration(path: Path, name: str | None) -> RunConfiguration:
    """Read a `.runconfig`; see `RunConfiguration.load`."""
    document = YamlDocument.read(find_file(path, name))
    if _is_job(document):
        raise ConfigurationError(
            f"{document.path} is a command job; ScriptRunConfig.load reads it"
        )
    reading = RunConfigReading.read(document, project_of(document.path))
    for key in _FOR_SCRIPT:
        if reading.values.get(key):
            reading.lacks.append(Lack((key,), "ScriptRunConfig.load takes it, too"))
    report(document, reading.lacks)
    with document.at():
        run_config = RunConfiguration.model_validate(reading.values["run_config"])
    run_config.keep_origin(Origin(document, write_run_configuration(run_config)))
    return run_config


def save_script_run(config: ScriptRunConfig, path: Path | None) -> Path:
    """Write a config to the file it is of, or to another; see `ScriptRunConfig.save`."""
    origin: Origin | None = config.origin
    if path is None:
        if origin is None:
            raise ConfigurationError("ScriptRunConfig.save: it was read from no file; give a path")
        path = origin.document.path
    _refuse_changed(origin, path)
    values = _values_of(origin.document if origin else None, config, path)
    document = YamlDocument.parse(path, _edit(origin, values))
    is_job = origin is not None and _is_job(origin.document)
    source = None if is_job else config.source_directory
    written, lacks = _make_script_run(document, source)
    if os.path.realpath(written.source_directory) == os.path.realpath(config.source_directory):
        written.source_directory = config.source_directory
    grave = [lack for lack in lacks if lack.changes_run]
    _require_same(path, config, written, grave)
    write_whole(path, document.text)
    if origin is not None and _is_same_file(origin.document.path, path):
        config.keep_origin(Origin(document, values))
    return path


def save_run_configuration(run_config: RunConfiguration, path: Path, name: str | None) -> Path:
    """Write a run configuration to a file of its own; see `RunConfiguration.save`."""
    origin: Origin | None = run_config.origin
    if path.is_dir():
        name = name or (origin.document.path.name if origin else None)
        if name is None:
            raise ConfigurationError("RunConfiguration.save: give a name, or the path of a file")
        path = path / ".azureml" / name
    _refuse_changed(origin, path)
    values = write_run_configuration(run_config)
    document = YamlDocument.parse(path, _edit(origin, values))
    reading = RunConfigReading.read(document, project_of(path))
    written = RunConfiguration.model_validate(reading.values["run_config"])
    _require_same(path, run_config, written, [lack for lack in reading.lacks if lack.changes_run])
    write_whole(path, document.text)
    if origin is not None and _is_same_file(origin.document.path, path):
        run_config.keep_origin(Origin(document, values))
    return path


def _values_of(
    document: YamlDocument | None, config: ScriptRunConfig, path: Path
) -> dict[Location, Any]:
    """What a file at `path` would say of this config, key by key."""
    run_config = config.run_config
    if document is not None and _is_job(document):
        docker = run_config.docker
        return {
            ("command",): config.command,
            ("code",): os.path.relpath(config.source_directory, path.absolute().parent),
            ("tags",): dict(config.tags),
            ("compute",): run_config.target,
            ("environment_variables",): dict(run_config.environment_variables),
            ("environment",): run_config.environment
            if isinstance(run_config.environment, str)
            else None,
            ("limits", "timeout"): run_config.max_run_duration_seconds,
            ("resources", "shm_size"): None if docker is None else docker.shm_size,
            ("resources", "docker_args"): [] if docker is None else list(docker.arguments),
        }
    said = config.model_dump(mode="json")
    values: dict[Location, Any] = {(key,): said[key] for key in _FOR_SCRIPT}
    return values | write_run_configuration(run_config)


def _refuse_changed(origin: Origin | None, path: Path) -> None:
    """Raise ConfigurationError where saving would undo what somebody wrote into the file since."""
    if origin is None or not path.exists() or not _is_same_file(origin.document.path, path):
        return
    if read_text(path) != origin.document.text:
        raise ConfigurationError(f"{path} was changed since it was loaded; load it again")


def _is_same_file(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _edit(origin: Origin | None, values: Mapping[Location, Any]) -> str:
    """The text of the file with what has changed since; of a new file only what is not default."""
    if origin is not None:
        before = origin.values
        changes = {
            key: one
            for key, one in values.items()
            if (before[key] != one if key in before else one or key == _ENVIRONMENT)
        }
        is_mapping = isinstance(origin.document.find(*_ENVIRONMENT), yaml.MappingNode)
        if not is_mapping and any(key[:1] == _ENVIRONMENT for key in changes):
            whole = values.get(_ENVIRONMENT) or _nest(values).get("environment")
            changes = {key: one for key, one in changes.items() if key[:1] != _ENVIRONMENT}
            changes[_ENVIRONMENT] = whole
        return origin.document.edited(
            {key: _merge(origin, key, value) for key, value in changes.items()}
        )
    plain = write_run_configuration(RunConfiguration())
    kept = {key: one for key, one in values.items() if one not in (plain.get(key), None, [], {})}
    for key in (("maxRunDurationSeconds",), ("prepareTimeoutSeconds",)):
        if values[key] is None:
            raise ConfigurationError(
                f"{key[0]}: no limit cannot be written to this kind of file; give a number"
            )
    kept |= {key: values[key] for key in (("target",), ("framework",))}
    return str(yaml.safe_dump(_nest(kept), sort_keys=False, allow_unicode=True))


def _merge(origin: Origin, location: Location, value: Any) -> Any:
    """The value that a key is to have, with what the file alone says below it."""
    node = origin.document.find(*location)
    if not isinstance(node, yaml.MappingNode) or not isinstance(value, dict):
        return value
    said = construct(node)
    if location[-1] == "condaDependencies":
        return change_packages(said, value)
    before = origin.values.get(location)
    if not isinstance(before, dict):
        return value
    kept = {key: one for key, one in said.items() if key not in before or key in value}
    return kept | {key: one for key, one in value.items() if before.get(key) != one}


def _nest(values: Mapping[Location, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for location, value in values.items():
        inner = nested
        for part in location[:-1]:
            inner = inner.setdefault(str(part), {})
        inner[str(location[-1])] = value
    return nested


def _make_script_run(
    document: YamlDocument, source_directory: str | None
) -> tuple[ScriptRunConfig, list[Lack]]:
    if _is_job(document):
        kind = document.data.get("type", "command")
        if kind != "command":
            raise ConfigurationError(
                f"{document.place(('type',))}: type: {kind!r} is not here; it should be 'command'"
            )
        job = CommandJobReading.read(document)
        values, lacks = job.values, job.lacks
    else:
        reading = RunConfigReading.read(document, project_of(document.path))
        values, lacks = reading.values, reading.lacks
        values.setdefault("source_directory", str(reading.project))
    if source_directory is not None:
        values = {**values, "source_directory": source_directory}
    if any(lack.changes_run for lack in lacks):
        report(document, lacks)
    with document.at():
        return ScriptRunConfig.model_validate(values), lacks


def _is_job(document: YamlDocument) -> bool:
    return any(key in document.data for key in _JOB_KEYS)


def _require_same(
    path: Path, config: ConfigModel, written: ConfigModel, grave: list[Lack]
) -> None:
    """Raise ConfigurationError where a file would not give the config that is saved."""
    wanted, found = (
        _leaves(config.model_dump(mode="json")),
        _leaves(written.model_dump(mode="json")),
    )
    differ = sorted(
        key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)
    )
    differ = [key for key in differ if key != "run_config.environment.version"]
    differ += [".".join(map(str, lack.location)) for lack in grave]
    if differ:
        raise ConfigurationError(
            f"{path} cannot say this: {', '.join(differ)}; change it back, or keep the config as "
            "JSON: config.model_dump_json()"
        )
    if _list_user_parts(config) != _list_user_parts(written):
        raise ConfigurationError(
            f"{path}: credentials in the URL of an index or a package are not written to files; "
            "put '${NAME}' in their place, the name of an environment variable"
        )


def _list_user_parts(config: ConfigModel) -> list[tuple[str, str]]:
    environment = getattr(getattr(config, "run_config", config), "environment", None)
    if not isinstance(environment, Environment):
        return []
    python = environment.python
    return sorted([*python.index.list_user_parts(), *python.list_user_parts()])


def _leaves(value: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {key: value}
    leaves: dict[str, Any] = {}
    for name, one in value.items():
        leaves |= _leaves(one, f"{key}.{name}" if key else str(name))
    return leaves
