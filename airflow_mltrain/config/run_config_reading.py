"""From a `.runconfig` file of Azure ML's SDK to a script run config."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from airflow_mltrain.absent import MEMBERS
from airflow_mltrain.config.conda_specification import (
    CondaSpecification,
    read_conda_node,
    read_conda_specification,
)
from airflow_mltrain.config.docker_configuration import DockerConfiguration
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.file_keys import Lack, read_keys
from airflow_mltrain.config.run_config_file import (
    EnvironmentKeys,
    PythonKeys,
    RunConfigKeys,
)
from airflow_mltrain.config.yaml_document import Location, YamlDocument
from airflow_mltrain.errors import ConfigurationError

_NOT_HERE: Final = MEMBERS["RunConfiguration"]
_SDK: Final = ("azureml-defaults", "azureml-core", "azureml-sdk")
_SDK_IMAGES: Final = "mcr.microsoft.com/azureml/"
_SDK_SPARK: Final = {
    "spark.app.name": "Azure ML Experiment",
    "spark.yarn.maxAppAttempts": "1",
}
_DOCKER_UNUSED: Final = "it counts with docker.useDocker: true"

_TEXTS: Final = (
    ("command",),
    ("arguments",),
    ("environment_variables",),
    ("tags",),
    ("docker", "arguments"),
    ("spark", "configuration"),
)
_ENVIRONMENT_TEXTS: Final = (
    ("environment_variables",),
    ("docker", "arguments"),
    ("spark", "configuration"),
)

# The key, the values that ask for nothing, what to do instead, and whether it changes the run.
_LACKS: Final[tuple[tuple[Location, tuple[Any, ...], str, bool], ...]] = (
    (("communicator",), ("None",), _NOT_HERE["communicator"], True),
    (("nodeCount",), (1,), _NOT_HERE["node_count"], True),
    (("priority",), (), _NOT_HERE["priority"], False),
    (("history", "outputCollection"), (True,), _NOT_HERE["history"], False),
    (("history", "snapshotProject"), (True,), _NOT_HERE["history"], False),
    (("history", "directoriesToWatch"), (["logs"],), _NOT_HERE["history"], False),
    (("hdi",), ({"yarnDeployMode": "cluster"},), _NOT_HERE["hdi"], False),
    (
        ("tensorflow",),
        ({"workerCount": 1, "parameterServerCount": 1},),
        _NOT_HERE["tensorflow"],
        False,
    ),
    (("mpi",), ({"processCountPerNode": 1, "nodeCount": 1},), _NOT_HERE["mpi"], False),
    (
        ("pytorch",),
        ({"communicationBackend": "nccl", "nodeCount": 1},),
        _NOT_HERE["pytorch"],
        False,
    ),
    (
        ("paralleltask",),
        ({"maxRetriesPerWorker": 0, "workerCountPerNode": 1},),
        _NOT_HERE["paralleltask"],
        False,
    ),
    (("dataReferences",), (), _NOT_HERE["data_references"], True),
    (("data",), (), _NOT_HERE["data"], True),
    (("datacaches",), (), _NOT_HERE["datacaches"], True),
    (("outputData",), (), "write to outputs/, which is kept", True),
    (("sourceDirectoryDataStore",), (), _NOT_HERE["source_directory_data_store"], False),
    (("amlcompute",), (), _NOT_HERE["amlcompute"], False),
    (("autoClusterComputeSpecification",), (), _NOT_HERE["amlcompute"], False),
    (("kubernetescompute",), (), _NOT_HERE["kubernetescompute"], False),
    (("credentialPassthrough",), (False,), _NOT_HERE["credential_passthrough"], False),
    (("applicationEndpoints",), (), _NOT_HERE["services"], False),
    (("services",), (), _NOT_HERE["services"], False),
    (("docker", "sharedVolumes"), (True,), "leave it out", False),
)
_ENVIRONMENT_LACKS: Final[tuple[tuple[Location, tuple[Any, ...], str, bool], ...]] = (
    (("version",), (), "register the environment to give it a version", False),
    (("python", "baseCondaEnvironment"), (), "name the interpreter of that environment", True),
    (("docker", "sharedVolumes"), (True,), "leave it out", False),
    (("docker", "gpuSupport"), (False,), "ask for resources.gpus", False),
    (
        ("docker", "baseImageRegistry"),
        (),
        MEMBERS["DockerSection"]["base_image_registry"],
        False,
    ),
    (
        ("docker", "platform"),
        ({"os": "Linux", "architecture": "amd64"},),
        MEMBERS["DockerSection"]["platform"],
        True,
    ),
    (("spark", "precachePackages"), (True,), MEMBERS["SparkSection"]["precache_packages"], False),
    (("databricks",), (), "there is no Databricks compute target", True),
    (("r",), (), MEMBERS["Environment"]["r"], True),
    (("inferencingStackVersion",), (), "leave it out", False),
    (("assetId",), (), "leave it out", False),
)


@dataclass
class RunConfigReading:
    """What a file comes down to: values of a ScriptRunConfig, and what is not here."""

    document: YamlDocument
    project: Path  # paths in the file count from here
    values: dict[str, Any] = field(default_factory=dict)
    lacks: list[Lack] = field(default_factory=list)

    @classmethod
    def read(cls, document: YamlDocument, project: Path) -> RunConfigReading:
        """Read the file; raises ConfigurationError, a line for each key that is wrong."""
        reading = cls(document, project)
        keys = read_keys(document, RunConfigKeys)
        reading._read(keys)
        return reading

    def _read(self, keys: RunConfigKeys) -> None:
        _spell(self.document, keys, _TEXTS, ())
        self._note(_LACKS, keys.model_dump(by_alias=True, exclude_none=True), ())
        docker = self._read_docker(keys)
        environment = self._read_environment(keys, uses_docker=docker is not None)
        values = {"script": keys.script, "command": keys.command, "arguments": keys.arguments}
        self.values = {
            name: value for name, value in values.items() if value not in (None, "", [])
        }
        if keys.tags:
            self.values["tags"] = keys.tags
        run_config = {
            "target": self._read_target(keys.target),
            "framework": self._read_framework(keys.framework),
            "environment": environment,
            "environment_variables": _texts(keys.environment_variables),
            "docker": docker,
            "spark": self._read_spark(keys),
            "max_run_duration_seconds": keys.max_run_duration_seconds,
            "prepare_timeout_seconds": keys.prepare_timeout_seconds,
            "lease_seconds": keys.lease_seconds,
            "exit_code_policy": keys.exit_code_policy,
            "max_preemptions": keys.max_preemptions,
        }
        if keys.resources is not None:
            run_config["resources"] = keys.resources.model_dump(exclude_none=True)
        self.values["run_config"] = {k: v for k, v in run_config.items() if v is not None}

    def _read_target(self, target: str | None) -> str | None:
        if target == "amlcompute":
            self.lacks.append(Lack(("target",), _NOT_HERE["amlcompute"], changes_run=True))
            return None
        return target or None

    def _read_framework(self, framework: str | None) -> str | None:
        if framework in ("TensorFlow", "PyTorch", "CNTK"):
            self.lacks.append(Lack(("framework",), "its script is run by Python, once"))
            return None
        return framework

    def _read_docker(self, keys: RunConfigKeys) -> DockerConfiguration | None:
        said = keys.docker
        if said is None:
            return None
        if not said.use_docker:
            for key, value in (("arguments", said.arguments), ("shmSize", said.shm_size)):
                if value not in (None, [], "2g"):
                    self.lacks.append(Lack(("docker", key), _DOCKER_UNUSED))
            return None
        with self.document.at("docker"):
            return DockerConfiguration(
                use_docker=True, arguments=said.arguments or [], shm_size=said.shm_size or "2g"
            )

    def _read_spark(self, keys: RunConfigKeys) -> dict[str, Any] | None:
        if keys.spark is None:
            return None
        said = keys.spark.model_dump(exclude_none=True)
        properties = _texts(said.pop("configuration", {})) or {}
        asked = {k: v for k, v in properties.items() if _SDK_SPARK.get(k) != v}
        return {**said, "configuration": asked} if asked or said else None

    def _read_environment(
        self, keys: RunConfigKeys, *, uses_docker: bool
    ) -> Environment | str | None:
        said = keys.environment
        if said is None or said == "":
            return None
        if isinstance(said, str) and not said.endswith((".yml", ".yaml")):
            return said
        reader = _EnvironmentReader(self, self.document, ("environment",), uses_docker=uses_docker)
        if isinstance(said, str):
            document = YamlDocument.read(self._find_file(said))
            said = read_keys(document, EnvironmentKeys)
            reader = _EnvironmentReader(self, document, (), uses_docker=uses_docker)
        return reader.read(said)

    def _find_file(self, name: str) -> Path:
        """A file that the file names: from the project, or else beside it."""
        beside = self.document.path.parent / name
        return self.project / name if (self.project / name).exists() else beside

    def _note(
        self,
        lacks: tuple[tuple[Location, tuple[Any, ...], str, bool], ...],
        said: dict[str, Any],
        above: Location,
    ) -> None:
        for location, asking_nothing, remedy, changes_run in lacks:
            value: Any = said
            for part in location:
                value = value.get(part) if isinstance(value, dict) else None
            value = _strip(value)
            if value is not None and value not in asking_nothing:
                self.lacks.append(Lack((*above, *location), remedy, changes_run))


class _EnvironmentReader:
    def __init__(
        self,
        reading: RunConfigReading,
        document: YamlDocument,
        above: Location,
        *,
        uses_docker: bool,
    ) -> None:
        self._reading = reading
        self._document = document
        self._above = above
        self._uses_docker = uses_docker

    def read(self, keys: EnvironmentKeys) -> Environment | str:
        _spell(self._document, keys, _ENVIRONMENT_TEXTS, self._above)
        said = keys.model_dump(by_alias=True, exclude_none=True)
        if keys.name and said.keys() <= {"name", "version"}:
            return f"{keys.name}:{keys.version}" if keys.version is not None else keys.name
        self._reading._note(_ENVIRONMENT_LACKS, said, self._above)  # noqa: SLF001 - its other half
        with self._document.at(*self._above):
            environment = Environment(
                keys.name or "environment",
                environment_variables=_texts(keys.environment_variables) or {},
            )
            self._take_docker(environment, keys)
            self._take_spark(environment, keys)
            if keys.python is not None:
                self._take_python(environment, keys.python)
        return environment

    def _take_python(self, environment: Environment, keys: PythonKeys) -> None:
        python = environment.python
        if keys.user_managed_dependencies:
            python.user_managed_dependencies = True
            python.interpreter_path = keys.interpreter_path or "python"
            return
        found = self._read_packages(keys)
        if found is None:
            return
        if found.variables:
            environment.environment_variables |= found.variables
        python.version = found.python_version
        python.conda_packages, python.conda_channels = found.conda_packages, found.channels
        python.constraints = list(keys.constraints or ())
        python.index = type(python.index).model_validate(found.pip.index)
        own = [one for one in found.pip.packages if not is_sdk(one)]
        if len(own) < len(found.pip.packages):
            key = "condaDependencies" if keys.conda_dependencies else "condaDependenciesFile"
            remedy = "Azure ML's own SDK is left out of it: it answers scripts, and keeps nothing"
            self._reading.lacks.append(Lack((*self._above, "python", key), remedy))
        python.packages = own

    def _read_packages(self, keys: PythonKeys) -> CondaSpecification | None:
        node = self._document.find(*self._above, "python", "condaDependencies")
        if keys.conda_dependencies and node is not None:
            return read_conda_node(self._document.path, node)
        if not keys.conda_dependencies_file:
            return None
        path = self._reading._find_file(keys.conda_dependencies_file)  # noqa: SLF001
        return read_conda_specification(path)

    def _take_docker(self, environment: Environment, keys: EnvironmentKeys) -> None:
        said = keys.docker
        if said is None:
            return
        context = said.build_context
        if context is not None and context.snapshot_id is None and _strip(context.model_dump()):
            remedy = "store the directory with DockerBuildContext.from_local_directory"
            self._lack(("docker", "buildContext"), remedy, changes_run=True)
            context = None
        if self._uses_docker or said.enabled:
            docker = environment.docker
            docker.base_image = said.base_image or None
            docker.base_dockerfile = said.base_dockerfile or None
            if context is not None and context.snapshot_id:
                location = {"location": context.location, "snapshot_id": context.snapshot_id}
                path = context.dockerfile_path or "Dockerfile"
                environment.docker = type(docker).model_validate(
                    {"build_context": {**location, "dockerfile_path": path}}
                )
            environment.docker.arguments = list(said.arguments or ())
            environment.docker.shm_size = said.shm_size or "2g"
            return
        unused = {
            "baseImage": ""
            if (said.base_image or "").startswith(_SDK_IMAGES)
            else said.base_image,
            "baseDockerfile": said.base_dockerfile,
            "buildContext": context,
            "arguments": said.arguments,
            "shmSize": None if said.shm_size == "2g" else said.shm_size,
        }
        for key, value in unused.items():
            if value:
                self._lack(("docker", key), _DOCKER_UNUSED)

    def _take_spark(self, environment: Environment, keys: EnvironmentKeys) -> None:
        said = keys.spark
        if said is None:
            return
        spark = environment.spark
        spark.repositories, spark.jars = said.repositories or [], said.jars or []
        spark.packages = [
            f"{one.group}:{one.artifact}:{self._spell_version(index, one.version)}"
            for index, one in enumerate(said.packages or ())
        ]
        spark.configuration = _texts(said.configuration) or {}

    def _spell_version(self, index: int, version: Any) -> Any:
        location = ("spark", "packages", index, "version")
        return self._document.spell(version, *self._above, *location)

    def _lack(self, location: Location, remedy: str, *, changes_run: bool = False) -> None:
        self._reading.lacks.append(Lack((*self._above, *location), remedy, changes_run))


def _spell(
    document: YamlDocument, keys: BaseModel, texts: tuple[tuple[str, ...], ...], above: Location
) -> None:
    """Let what counts as text be as it is written, where YAML takes it for a number."""
    for *way, last in texts:
        holder: Any = keys
        for name in way:
            holder = getattr(holder, name, None)
        if holder is not None:
            location = (*above, *map(to_camel, way), to_camel(last))
            setattr(holder, last, document.spell(getattr(holder, last), *location))


def _strip(value: Any) -> Any:
    """The value without what says nothing in it; None where nothing is left."""
    if isinstance(value, dict):
        return {key: one for key, one in value.items() if one not in (None, "", [], False)} or None
    return None if value in (None, "", []) else value


def _texts(values: dict[str, Any] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return {key: value if isinstance(value, dict) else str(value) for key, value in values.items()}


def is_sdk(requirement: str) -> bool:
    """Whether a requirement is Azure ML's own SDK, which is left out."""
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), None)
    return canonicalize_name(requirement[:end]) in _SDK


def project_of(path: Path) -> Path:
    """The project that a file belongs to: where its folder `.azureml` is, or its own folder."""
    folder = path.absolute().parent
    return folder.parent if folder.name in (".azureml", "aml_config") else folder


def find_file(path: Path, name: str | None) -> Path:
    """The file that `path` is, or that has this name in the project `path`."""
    if path.is_file():
        return path
    if name is None:
        raise ConfigurationError(f"{path} is no file; give its path, or a project and a name")
    folders = (path / ".azureml", path / "aml_config", path)
    found = [folder / file for folder in folders for file in (name, f"{name}.runconfig")]
    for file in found:
        if file.is_file():
            return file
    raise ConfigurationError(
        f"there is no run configuration {name!r} in {path}; looked for "
        f"{', '.join(str(file.relative_to(path)) for file in found)}"
    )
