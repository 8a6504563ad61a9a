"""What software a script needs."""

import sys
import warnings
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol, TypeAlias

from pydantic import AfterValidator, Field

from airflow_mltrain.absent import MEMBERS, refuse_given
from airflow_mltrain.config.docker_section import DockerBuildContext, DockerSection
from airflow_mltrain.config.dockerfile import find_dockerfile_text, read_dockerfile
from airflow_mltrain.config.environment_reference import check_environment_name
from airflow_mltrain.config.local_path import read_path
from airflow_mltrain.config.model import ConfigModel, only_names_fields, validate_again
from airflow_mltrain.config.python_section import PythonSection
from airflow_mltrain.config.saved_file import read_saved, save
from airflow_mltrain.config.spark import SparkSection
from airflow_mltrain.config.text import EnvironmentVariables, NumberAsText
from airflow_mltrain.errors import AbsentError, ConfigurationError

if TYPE_CHECKING:
    from typing_extensions import Self

_FILE_NAME = "environment.json"

EnvironmentName: TypeAlias = Annotated[str, AfterValidator(check_environment_name)]


class Environment(ConfigModel):
    """Named, versioned software that a script needs.

    The values of `environment_variables` appear in no message and in no `repr`.
    """

    name: EnvironmentName
    version: NumberAsText | None = None
    environment_variables: EnvironmentVariables = Field(default_factory=dict, repr=False)
    python: PythonSection = Field(default_factory=PythonSection)
    docker: DockerSection = Field(default_factory=DockerSection)
    spark: SparkSection = Field(default_factory=SparkSection)

    @only_names_fields
    def __init__(self, name: str, **fields: Any) -> None:
        super().__init__(name=name, **fields)

    @classmethod
    def from_pip_requirements(
        cls, name: str, file_path: str | PathLike[str], pip_version: str | None = None
    ) -> "Self":
        """An environment with the packages, constraints and index options of a requirements file.

        Raises ConfigurationError with the file and the line for what is not understood, or is
        only on this machine. `pip_version` is accepted for Azure ML's sake, with a warning.
        """
        from airflow_mltrain.config.requirements_file import read_requirements_file  # noqa: PLC0415

        if pip_version is not None:
            warnings.warn(
                f"pip_version={pip_version!r} counts for nothing: exact versions are resolved "
                "once and installed as they are; leave it out",
                stacklevel=2,
            )
        found = read_requirements_file(read_path(file_path))
        return cls(
            name,
            python={
                "packages": found.packages,
                "constraints": found.constraints,
                "index": found.index,
            },
        )

    @classmethod
    def from_conda_specification(cls, name: str, file_path: str | PathLike[str]) -> "Self":
        """An environment as a conda YAML file says; without conda packages it needs no conda.

        Raises ConfigurationError with the file and the line for what is not understood.
        """
        from airflow_mltrain.config.conda_specification import (  # noqa: PLC0415
            read_conda_specification,
        )

        found = read_conda_specification(read_path(file_path))
        return cls(
            name,
            environment_variables=found.variables,
            python={
                "version": found.python_version,
                "packages": found.pip.packages,
                "index": found.pip.index,
                "conda_packages": found.conda_packages,
                "conda_channels": found.channels,
            },
        )

    @classmethod
    def from_docker_image(
        cls,
        name: str,
        image: str,
        *,
        container_registry: Any = None,
        pip_requirements: str | PathLike[str] | None = None,
        conda_specification: str | PathLike[str] | None = None,
    ) -> "Self":
        """An environment in an image, with the packages of a file; without one, as the image is.

        The packages are installed beside the image's own Python, isolated from what it has. A
        `container_registry` is refused: its login is in the compute target's connection.
        """
        refuse_given(
            "Environment.from_docker_image",
            {"container_registry": MEMBERS["DockerSection"]["base_image_registry"]},
            {"container_registry": container_registry},
        )
        docker = DockerSection(base_image=image)
        return cls._in_image(name, docker, pip_requirements, conda_specification)

    @classmethod
    def from_dockerfile(
        cls,
        name: str,
        dockerfile: str | PathLike[str],
        *,
        pip_requirements: str | PathLike[str] | None = None,
        conda_specification: str | PathLike[str] | None = None,
    ) -> "Self":
        """An environment in an image that is built from a Dockerfile: its path, or its text.

        No directory goes with it; what copies files is built by `from_docker_build_context`.
        """
        text = find_dockerfile_text(dockerfile) or read_dockerfile(read_path(dockerfile))
        docker = DockerSection(base_dockerfile=text)
        return cls._in_image(name, docker, pip_requirements, conda_specification)

    @classmethod
    def from_docker_build_context(
        cls, name: str, docker_build_context: DockerBuildContext
    ) -> "Self":
        """An environment in an image that is built from a directory, used as the image is."""
        return cls._in_image(name, DockerSection(build_context=docker_build_context))

    @classmethod
    def _in_image(
        cls,
        name: str,
        docker: DockerSection,
        pip_requirements: str | PathLike[str] | None = None,
        conda_specification: str | PathLike[str] | None = None,
    ) -> "Self":
        if pip_requirements is not None and conda_specification is not None:
            raise ConfigurationError(
                f"environment {name!r}: pip_requirements and conda_specification were both given; "
                "give one of them, and pip's packages below 'pip:' in the conda specification"
            )
        if pip_requirements is not None:
            environment = cls.from_pip_requirements(name, pip_requirements)
        elif conda_specification is not None:
            environment = cls.from_conda_specification(name, conda_specification)
        else:
            environment = cls(name, python={"user_managed_dependencies": True})
        environment.docker = docker
        return environment

    @classmethod
    def from_existing_environment(cls, name: str, *, exclude: Iterable[str] = ()) -> "Self":
        """The packages of the Python that runs this, each in the version that is installed.

        pip, setuptools and wheel are left out, and so is what `exclude` names. Raises
        ConfigurationError naming all packages that were installed from a folder or file.
        """
        from airflow_mltrain.config.installed_packages import freeze  # noqa: PLC0415

        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return cls(name, python={"version": version, "packages": freeze(exclude=exclude)})

    @staticmethod
    def from_existing_conda_environment(name: str, conda_environment_name: str) -> NoReturn:
        """Refused: what conda has on this machine is named by a file that it writes."""
        raise AbsentError(
            f"environment {name!r}: conda is not asked here; `conda env export -n "
            f"{conda_environment_name} > conda.yml` writes what "
            "Environment.from_conda_specification reads"
        )

    @staticmethod
    def add_private_pip_wheel(
        workspace: "EnvironmentRegistry",
        file_path: str | PathLike[str],
        exist_ok: bool = False,  # noqa: ARG004, FBT001, FBT002 - Azure ML's signature
    ) -> str:
        """Keep a wheel in the workspace; returns what to put into `python.packages` for it.

        Wheels are kept by their content: adding one again changes nothing, and another file of the
        same name takes the place of none, so `exist_ok` makes no difference.
        """
        from airflow_mltrain.config.private_wheel import (  # noqa: PLC0415
            find_wheel_name,
            write_reference,
        )

        path = read_path(file_path)
        name = find_wheel_name(path)
        return write_reference(name, workspace.add_wheel(path), path.name)

    @classmethod
    def load_from_directory(cls, path: str | PathLike[str]) -> "Self":
        """The environment that `save_to_directory` wrote there; raises ConfigurationError."""
        return read_saved(cls, read_path(path) / _FILE_NAME)

    def save_to_directory(self, path: str | PathLike[str], overwrite: bool = False) -> None:  # noqa: FBT001, FBT002 - Azure ML's signature
        """Write `environment.json` there, whole or not at all; without credentials.

        The directory is made if need be. Raises ConfigurationError where the file exists, unless
        it may be overwritten.
        """
        save(look_again(self), read_path(path) / _FILE_NAME, overwrite=overwrite)

    @classmethod
    def get(
        cls,
        workspace: "EnvironmentRegistry",
        name: str,
        version: int | str | None = None,
        label: str | None = None,
    ) -> "Environment":
        """The registered or curated environment; the newest version unless one is named.

        Raises ConfigurationError where there is none.
        """
        return workspace.get_environment(name, version, label)

    @staticmethod
    def label(
        workspace: "EnvironmentRegistry", name: str, version: int | str, labels: Sequence[str]
    ) -> None:
        """Let each label mean this version from now on, and no other version of that name."""
        workspace.label_environment(name, version, labels)

    def register(self, workspace: "EnvironmentRegistry") -> "Environment":
        """Keep it under its name; returns it with its version, the same for the same content."""
        return workspace.register_environment(self)

    def clone(self, new_name: str) -> "Self":
        """An independent copy under another name, without a version, to be changed freely."""
        copy = self.model_copy(deep=True)
        copy.name = new_name
        copy.version = None
        return copy

    @staticmethod
    def list(workspace: "EnvironmentRegistry") -> "dict[str, Environment]":
        """Every registered environment in its newest version, and the curated ones, by name."""
        return workspace.list_environments()


def look_again(environment: Environment) -> Environment:
    """A copy that was validated as a whole, for lists can be changed in place.

    It has the credentials that `environment` keeps in memory. Raises ConfigurationError.
    """
    checked = validate_again(environment)
    checked.python.take_credentials_over(environment.python)
    checked.python.index.take_credentials_over(environment.python.index)
    return checked


class EnvironmentRegistry(Protocol):
    """What keeps environments under their names: a workspace."""

    def get_environment(
        self, name: str, version: int | str | None = None, label: str | None = None
    ) -> Environment:
        """The environment of this name, or of `name:3` or `name@label`; raises."""

    def register_environment(self, environment: Environment) -> Environment:
        """Keep the environment; returns it with its version."""

    def list_environments(self) -> dict[str, Environment]:
        """Every environment in its newest version, by name."""

    def label_environment(self, name: str, version: int | str, labels: Sequence[str]) -> None:
        """Move the labels to this version."""

    def add_wheel(self, path: Path) -> str:
        """Keep the file; returns its sha256."""

    def add_build_context(self, path: Path, dockerfile_path: str) -> str:
        """Keep the directory as it is; returns its snapshot id."""
