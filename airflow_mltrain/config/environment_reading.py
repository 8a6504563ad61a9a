"""From what a `.runconfig` file, or a file of its own, says of an environment to that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from airflow_mltrain.absent import MEMBERS
from airflow_mltrain.config.conda_specification import (
    CondaSpecification,
    read_conda_node,
    read_conda_specification,
)
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.file_keys import (
    Lack,
    LackRule,
    as_texts,
    find_lacks,
    spell_texts,
    strip,
)
from airflow_mltrain.config.run_config_file import EnvironmentKeys, PythonKeys
from airflow_mltrain.config.yaml_document import Location, YamlDocument

DOCKER_UNUSED: Final = "it counts with docker.useDocker: true"
_SDK: Final = ("azureml-defaults", "azureml-core", "azureml-sdk")
_SDK_IMAGES: Final = "mcr.microsoft.com/azureml/"

_TEXTS: Final = (
    ("environment_variables",),
    ("docker", "arguments"),
    ("spark", "configuration"),
)

_LACKS: Final[Sequence[LackRule]] = (
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


class EnvironmentReading:
    """What a file comes down to: an environment, and in `lacks` what is not here.

    Args:
        document: the file.
        above: the keys that lead to the environment in it.
        find_file: where a file lies that this one names.
        uses_docker: whether the run configuration around it asks for a container.
    """

    def __init__(
        self,
        document: YamlDocument,
        above: Location,
        find_file: Callable[[str], Path],
        *,
        uses_docker: bool,
    ) -> None:
        self.lacks: list[Lack] = []
        self._document = document
        self._above = above
        self._find_file = find_file
        self._uses_docker = uses_docker

    def read(self, keys: EnvironmentKeys) -> Environment | str:
        """The environment, or the reference to one where nothing but its name is said."""
        spell_texts(self._document, keys, _TEXTS, self._above)
        said = keys.model_dump(by_alias=True, exclude_none=True)
        if keys.name and said.keys() <= {"name", "version"}:
            return f"{keys.name}:{keys.version}" if keys.version is not None else keys.name
        self.lacks += find_lacks(_LACKS, said, self._above)
        with self._document.at(*self._above):
            environment = Environment(
                keys.name or "environment",
                environment_variables=as_texts(keys.environment_variables) or {},
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
            self._lack(("python", key), remedy)
        python.packages = own

    def _read_packages(self, keys: PythonKeys) -> CondaSpecification | None:
        node = self._document.find(*self._above, "python", "condaDependencies")
        if keys.conda_dependencies and node is not None:
            return read_conda_node(self._document.path, node)
        if not keys.conda_dependencies_file:
            return None
        path = self._find_file(keys.conda_dependencies_file)
        return read_conda_specification(path)

    def _take_docker(self, environment: Environment, keys: EnvironmentKeys) -> None:
        said = keys.docker
        if said is None:
            return
        context = said.build_context
        if context is not None and context.snapshot_id is None and strip(context.model_dump()):
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
                self._lack(("docker", key), DOCKER_UNUSED)

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
        spark.configuration = as_texts(said.configuration) or {}

    def _spell_version(self, index: int, version: Any) -> Any:
        location = ("spark", "packages", index, "version")
        return self._document.spell(version, *self._above, *location)

    def _lack(self, location: Location, remedy: str, *, changes_run: bool = False) -> None:
        self.lacks.append(Lack((*self._above, *location), remedy, changes_run))


def is_sdk(requirement: str) -> bool:
    """Whether a requirement is Azure ML's own SDK, which is left out."""
    end = next((i for i, c in enumerate(requirement) if not (c.isalnum() or c in "-_.")), None)
    return canonicalize_name(requirement[:end]) in _SDK
