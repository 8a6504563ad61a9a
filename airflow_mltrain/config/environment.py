"""What software a script needs."""

import re
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeAlias

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from airflow_mltrain.config.model import ConfigModel, only_names_fields
from airflow_mltrain.config.text import (
    Argument,
    EnvironmentVariables,
    NonEmptyText,
    NumberAsText,
)

if TYPE_CHECKING:
    from typing_extensions import Self

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_SIZE = re.compile(r"[1-9][0-9]*[bkmg]?", re.IGNORECASE)


def check_environment_name(name: str) -> str:
    """Give `name` back; raises ValueError where no environment can have it."""
    if not _NAME.fullmatch(name) or set(name) == {"."}:
        raise ValueError("it should be 1 to 255 letters, digits, hyphens, underscores and dots")
    return name


def _check_size(size: str) -> str:
    if not _SIZE.fullmatch(size):
        raise ValueError("it should be a whole number and a unit, b, k, m or g, such as '2g'")
    return size


EnvironmentName: TypeAlias = Annotated[str, AfterValidator(check_environment_name)]


class PythonSection(ConfigModel):
    """The Python that runs the script.

    With `user_managed_dependencies` nothing is installed and `interpreter_path` is used as it is.
    """

    user_managed_dependencies: bool = False
    interpreter_path: NonEmptyText = "python"
    packages: list[NonEmptyText] = Field(default_factory=list)


class DockerSection(ConfigModel):
    """The image the script runs in; it has one origin, an image or a Dockerfile."""

    base_image: NonEmptyText | None = None
    base_dockerfile: NonEmptyText | None = None
    arguments: list[Argument] = Field(default_factory=list)
    shm_size: Annotated[str, AfterValidator(_check_size)] = "2g"

    @field_validator("base_image", "base_dockerfile")
    @classmethod
    def _check_origin(cls, origin: str | None, info: ValidationInfo) -> str | None:
        other = "base_dockerfile" if info.field_name == "base_image" else "base_image"
        if origin is not None and info.data.get(other) is not None:
            raise ValueError(
                f"it contradicts {other}; give one of them, or set that to None first"
            )
        return origin


class SparkSection(ConfigModel):
    """What a Spark session needs: packages by Maven coordinates, their repositories, settings."""

    packages: list[NonEmptyText] = Field(default_factory=list)
    repositories: list[NonEmptyText] = Field(default_factory=list)
    configuration: dict[NonEmptyText, NumberAsText] = Field(default_factory=dict)


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
    def get(
        cls, workspace: "EnvironmentRegistry", name: str, version: int | str | None = None
    ) -> "Environment":
        """The registered or curated environment; the latest version unless one is named.

        Raises ConfigurationError where there is none.
        """
        return workspace.get_environment(name if version is None else f"{name}:{version}")

    def register(self, workspace: "EnvironmentRegistry") -> "Environment":
        """Keep it under its name; returns it with its version, the same for the same content."""
        return workspace.register_environment(self)

    def clone(self, new_name: str) -> "Self":
        """An independent copy under another name, without a version, to be changed freely."""
        copy = self.model_copy(deep=True)
        copy.name = new_name
        copy.version = None
        return copy


class EnvironmentRegistry(Protocol):
    """What keeps environments under their names: a workspace."""

    def get_environment(self, name: str) -> Environment:
        """The environment of this name, or of a name and a version such as `sklearn:3`."""

    def register_environment(self, environment: Environment) -> Environment:
        """Keep the environment; returns it with its version."""
