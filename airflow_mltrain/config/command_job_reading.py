"""From a command job in YAML, as version 2 of Azure ML's SDK has it, to a script run config."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_mltrain.absent import MEMBERS
from airflow_mltrain.config.command_job_file import (
    CommandJobKeys,
    InputKeys,
    JobEnvironmentKeys,
    OutputKeys,
)
from airflow_mltrain.config.conda_specification import read_conda_node
from airflow_mltrain.config.docker_configuration import DockerConfiguration
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.file_keys import Lack, read_keys
from airflow_mltrain.config.yaml_document import Location, YamlDocument
from airflow_mltrain.errors import ConfigurationError

_NOT_HERE: Final = MEMBERS["RunConfiguration"]
_EXPRESSION: Final = re.compile(r"\$\{\{\s*([^}]*?)\s*\}\}")
_OPTIONAL: Final = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_PREFIX: Final = "azureml:"
_EXPERIMENT: Final = "name it where it is submitted: Experiment(workspace, name)"
_LEFT_OUT: Final = {
    "name": "a run gets an id of its own; set display_name, or a tag, once it is submitted",
    "display_name": "set run.display_name once it is submitted",
    "experiment_name": _EXPERIMENT,
    "description": "say it in a tag",
    "properties": "add them with run.add_properties once it is submitted",
    "identity": "give environment variables a SecretReference",
    "services": _NOT_HERE["services"],
    "queue_settings": _NOT_HERE["priority"],
    "parent_job_name": "a script begins children of its run",
}


@dataclass
class CommandJobReading:
    """What a file comes down to: values of a ScriptRunConfig, and what is not here."""

    document: YamlDocument
    values: dict[str, Any] = field(default_factory=dict)
    lacks: list[Lack] = field(default_factory=list)

    @classmethod
    def read(cls, document: YamlDocument) -> CommandJobReading:
        """Read the file; raises ConfigurationError, a line for each key that is wrong."""
        reading = cls(document)
        reading._read(read_keys(document, CommandJobKeys))
        return reading

    def _read(self, keys: CommandJobKeys) -> None:
        spell = self.document.spell
        keys.tags = spell(keys.tags, "tags")
        keys.environment_variables = spell(keys.environment_variables, "environment_variables")
        said = keys.model_dump(exclude_none=True, exclude={"schema_"})
        for name, remedy in _LEFT_OUT.items():
            if said.get(name):
                self.lacks.append(Lack((name,), remedy))
        if keys.distribution and not _is_one_process(keys.distribution):
            self._lack(("distribution",), _NOT_HERE["mpi"])
        run_config: dict[str, Any] = {
            "target": _take_name(keys.compute) or "local",
            "environment": self._read_environment(keys.environment),
            "environment_variables": {
                name: str(value) for name, value in (keys.environment_variables or {}).items()
            },
            "docker": self._read_docker(keys),
            "max_run_duration_seconds": keys.limits and keys.limits.timeout,
        }
        self.values = {
            "source_directory": self._read_code(keys.code),
            "command": self._read_command(keys),
            "tags": keys.tags or {},
            "run_config": {name: one for name, one in run_config.items() if one is not None},
        }

    def _read_code(self, code: str) -> str:
        if "://" in code or code.startswith((_PREFIX, "git+")):
            self._lack(("code",), "check it out, and give its directory")
        return str(self.document.path.absolute().parent / code)

    def _read_command(self, keys: CommandJobKeys) -> str:
        inputs, outputs = keys.inputs or {}, keys.outputs or {}
        values: dict[str, str | None] = {}
        for name, value in inputs.items():
            values[f"inputs.{name}"] = self._read_input(name, value)
        folders = [self._read_output(name, one) for name, one in outputs.items()]
        values |= {
            f"outputs.{name}": folder for name, folder in zip(outputs, folders, strict=True)
        }

        def look_up(match: re.Match[str]) -> str:
            if match[1] not in values:
                known = ", ".join(values) or "no inputs and outputs"
                raise ConfigurationError(
                    f"{self.document.place(('command',))}: command: ${{{{{match[1]}}}}} is not "
                    f"among {known}"
                )
            return values[match[1]] or ""

        def choose(match: re.Match[str]) -> str:
            asked = [one[1] for one in _EXPRESSION.finditer(match[1])]
            return match[1] if all(values.get(name) is not None for name in asked) else ""

        command = _EXPRESSION.sub(look_up, _OPTIONAL.sub(choose, keys.command)).strip()
        if not folders:
            return command
        return f"mkdir -p {' '.join(folders)} && {command}"

    def _read_input(self, name: str, value: object) -> str | None:
        location = ("inputs", name)
        if not isinstance(value, InputKeys):
            return _text(self.document.spell(value, *location))
        key = "default" if value.value is None else "value"
        chosen = getattr(value, key)
        if chosen is not None:
            return _text(self.document.spell(chosen, *location, key))
        if value.path is not None:
            self._lack(
                (*location, "path"),
                "no data is brought to a run; give the path where the target has it, as a value",
            )
        elif not value.optional:
            self._lack(location, "give it a value or a default, for nobody asks for it later")
        return None

    def _read_output(self, name: str, keys: OutputKeys | None) -> str:
        said = {} if keys is None else keys.model_dump(exclude_none=True)
        for key in ("path", "name", "version"):
            if key in said:
                self._lack(
                    ("outputs", name, key), "what is in outputs/ is kept; take it from there"
                )
        if keys is not None and keys.type not in (None, "uri_folder"):
            self._lack(("outputs", name, "type"), "an output is a folder below outputs/")
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{self.document.place(('outputs', name))}: outputs.{name}: a name should be "
                "letters, digits, '-' and '_'"
            )
        return f"outputs/{name}"

    def _read_docker(self, keys: CommandJobKeys) -> DockerConfiguration | None:
        said = keys.resources
        if said is None:
            return None
        if said.instance_count not in (None, 1):
            self._lack(("resources", "instance_count"), _NOT_HERE["node_count"])
        for name in ("instance_type", "locations", "properties", "max_instance_count"):
            if getattr(said, name):
                remedy = "name a compute target that has it"
                self.lacks.append(Lack(("resources", name), remedy))
        arguments = self.document.spell(said.docker_args or [], "resources", "docker_args")
        if isinstance(arguments, str):
            try:
                arguments = list(shlex.split(arguments))
            except ValueError:
                place = self.document.place(("resources", "docker_args"))
                raise ConfigurationError(
                    f"{place}: resources.docker_args: its quotes should match"
                ) from None
        if not arguments and said.shm_size is None:
            return None
        with self.document.at("resources"):
            return DockerConfiguration(
                use_docker=True, arguments=arguments, shm_size=said.shm_size or "2g"
            )

    def _read_environment(self, said: str | JobEnvironmentKeys | None) -> Environment | str | None:
        if not isinstance(said, JobEnvironmentKeys):
            return _take_name(said)
        for name in ("version", "description", "tags", "os_type"):
            if getattr(said, name) not in (None, {}, "linux"):
                remedy = "register the environment to keep it"
                self.lacks.append(Lack(("environment", name), remedy))
        if said.build is not None:
            remedy = "store the directory with DockerBuildContext.from_local_directory"
            self._lack(("environment", "build"), remedy)
        with self.document.at("environment"):
            return self._make_environment(said)

    def _make_environment(self, said: JobEnvironmentKeys) -> Environment:
        name, folder = said.name or "job-environment", self.document.path.absolute().parent
        if isinstance(said.conda_file, str):
            environment = Environment.from_conda_specification(name, folder / said.conda_file)
        else:
            environment = Environment(name)
            node = self.document.find("environment", "conda_file")
            if said.conda_file is not None and node is not None:
                found = read_conda_node(self.document.path, node)
                environment.environment_variables = found.variables
                environment.python.version = found.python_version
                environment.python.packages = found.pip.packages
                environment.python.index = type(environment.python.index).model_validate(
                    found.pip.index
                )
                environment.python.conda_packages = found.conda_packages
                environment.python.conda_channels = found.channels
            else:
                environment.python.user_managed_dependencies = True
        environment.docker.base_image = said.image
        return environment

    def _lack(self, location: Location, remedy: str) -> None:
        self.lacks.append(Lack(location, remedy, changes_run=True))


def _take_name(reference: str | None) -> str | None:
    return None if reference is None else reference.removeprefix(_PREFIX)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_one_process(distribution: dict[str, Any]) -> bool:
    counts = {name: one for name, one in distribution.items() if name != "type"}
    return all(one in (None, 1) for one in counts.values()) and bool(counts)
