"""The image that a script runs in, and what its container gets."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from airflow_mltrain.config.build_directory import check_build_directory
from airflow_mltrain.config.container_options import ContainerOptions, parse_arguments
from airflow_mltrain.config.dockerfile import check_dockerfile, check_dockerfile_path
from airflow_mltrain.config.image_reference import check_image_reference
from airflow_mltrain.config.local_path import read_path
from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.config.size import check_size, parse_size
from airflow_mltrain.config.text import Argument, NonEmptyText, is_template
from airflow_mltrain.errors import ConfigurationError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ContainerOptions", "DockerBuildContext", "DockerSection"]

_ORIGINS = ("base_image", "base_dockerfile", "build_context")
_SNAPSHOT_ID = re.compile(r"[0-9a-f]{64}")
_SHM_SIZE = "2g"


def _check_snapshot_id(snapshot_id: str) -> str:
    if not _SNAPSHOT_ID.fullmatch(snapshot_id):
        raise ValueError(
            "it should be 64 digits from 0 to f, as DockerBuildContext.from_local_directory gives"
        )
    return snapshot_id


class BuildContextStore(Protocol):
    """What keeps the directories that images are built from: a workspace."""

    def add_build_context(self, path: Path, dockerfile_path: str) -> str:
        """Keep the directory as it is; returns its snapshot id."""


class DockerBuildContext(ConfigModel):
    """A directory with a Dockerfile and what it copies, as it was when it was stored.

    `location` says to people where it came from, and counts for nothing else.
    """

    snapshot_id: Annotated[str, AfterValidator(_check_snapshot_id)]
    dockerfile_path: Annotated[NonEmptyText, AfterValidator(check_dockerfile_path)] = "Dockerfile"
    location: NonEmptyText | None = None

    @classmethod
    def from_local_directory(
        cls,
        workspace: BuildContextStore,
        path: str | PathLike[str],
        dockerfile_path: str | PathLike[str] = "Dockerfile",
    ) -> Self:
        """Store the directory in the workspace as it is now, without what `.dockerignore` names.

        `<dockerfile_path>.dockerignore` counts instead where it exists. Raises ConfigurationError
        where the Dockerfile or the directory is not there, and SnapshotError where it is too large
        or cannot be stored.
        """
        directory = read_path(path)
        try:
            inside = check_dockerfile_path(str(read_path(dockerfile_path)))
        except ValueError as error:
            raise ConfigurationError(f"dockerfile_path: {dockerfile_path!r}: {error}") from None
        check_build_directory(directory, inside)
        return cls(
            snapshot_id=workspace.add_build_context(directory, inside),
            dockerfile_path=inside,
            location=str(directory.absolute()),
        )


class DockerSection(ConfigModel):
    """The image the script runs in, and flags of `docker run` for its container.

    The image has one origin at most: its name, the text of a Dockerfile, or a directory with one.
    """

    base_image: Annotated[NonEmptyText, AfterValidator(check_image_reference)] | None = None
    base_dockerfile: Annotated[NonEmptyText, AfterValidator(check_dockerfile)] | None = None
    build_context: DockerBuildContext | None = None
    arguments: list[Argument] = Field(default_factory=list)
    shm_size: Annotated[str, AfterValidator(check_size)] = _SHM_SIZE

    @field_validator(*_ORIGINS)
    @classmethod
    def _check_origin(cls, origin: object, info: ValidationInfo) -> object:
        others = [name for name in _ORIGINS if name != info.field_name and info.data.get(name)]
        if origin is not None and others:
            raise ValueError(
                f"it contradicts {others[0]}; give one of them, or set that to None first"
            )
        return origin

    @field_validator("arguments")
    @classmethod
    def _check_arguments(
        cls, arguments: list[str | int | float], info: ValidationInfo
    ) -> list[str | int | float]:
        _read_options(arguments, info.data.get("shm_size", _SHM_SIZE))
        return arguments

    @field_validator("shm_size")
    @classmethod
    def _check_shm_size(cls, shm_size: str, info: ValidationInfo) -> str:
        _read_options(info.data.get("arguments", ()), shm_size)
        return shm_size

    @property
    def options(self) -> ContainerOptions:
        """What `arguments` and `shm_size` come down to.

        Raises ConfigurationError where a template was not rendered, or the list was made wrong in
        place.
        """
        try:
            found = _read_options(self.arguments, self.shm_size)
        except ValueError as error:
            raise ConfigurationError(f"{type(self).__name__}.arguments: {error}") from None
        if found is None:
            raise ConfigurationError(
                f"{type(self).__name__}.arguments: a Jinja template in it or in shm_size was not "
                "rendered; templates are rendered in a Dag, elsewhere write the value"
            )
        return found


def _read_options(
    arguments: list[str | int | float] | tuple[()], shm_size: str
) -> ContainerOptions | None:
    """None while a template in them is to be rendered; raises ValueError."""
    if is_template(shm_size) or any(is_template(str(word)) for word in arguments):
        return None
    fields = {"shm_size_bytes": parse_size(shm_size), **parse_arguments(arguments)}
    if shm_size != _SHM_SIZE and fields["shm_size_bytes"] != parse_size(shm_size):
        raise ValueError(f"--shm-size contradicts shm_size = {shm_size!r}; give one of them")
    return ContainerOptions(**fields)
