"""Whether a run needs a container, and what that gets, as Azure ML's DockerConfiguration says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.model import ConfigModel, only_names_fields
from airflow_mltrain.config.size import check_size
from airflow_mltrain.config.text import Argument
from airflow_mltrain.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHM_SIZE = "2g"


class DockerConfiguration(ConfigModel):
    """Whether a run needs a container, and flags of `docker run` for it.

    With `use_docker` only a Docker compute target takes the run, and `arguments` and `shm_size`
    win over those of the environment. Without it the compute target decides.
    """

    use_docker: bool = False
    shared_volumes: Literal[True] = True
    arguments: list[Argument] = Field(default_factory=list)
    shm_size: Annotated[str, AfterValidator(check_size)] = _SHM_SIZE

    @only_names_fields
    def __init__(
        self,
        use_docker: bool = False,  # noqa: FBT001, FBT002 - Azure ML's signature
        shared_volumes: bool = True,  # noqa: FBT001, FBT002
        arguments: Sequence[str | float] = (),
        shm_size: str = _SHM_SIZE,
    ) -> None:
        super().__init__(
            use_docker=use_docker,
            shared_volumes=shared_volumes,
            arguments=list(arguments),
            shm_size=shm_size,
        )


def apply_docker(
    docker: DockerConfiguration | None, environment: Environment | None, *, runs_images: bool
) -> Environment | None:
    """The environment with what `docker` says for its container.

    Raises ConfigurationError where that would count for nothing.
    """
    if docker is None:
        return environment
    if not docker.use_docker:
        if docker.arguments or docker.shm_size != _SHM_SIZE:
            raise ConfigurationError(
                "run_config.docker: arguments and shm_size count with use_docker = True; set that "
                "too, or leave them out"
            )
        return environment
    if not runs_images:
        raise ConfigurationError(
            "run_config.docker: use_docker = True was given, and this compute target runs no "
            "images; choose a Docker compute target, or leave it out"
        )
    if not docker.arguments and docker.shm_size == _SHM_SIZE:
        return environment
    changed = Environment("docker") if environment is None else environment.model_copy(deep=True)
    if docker.arguments:
        changed.docker.arguments = list(docker.arguments)
    if docker.shm_size != _SHM_SIZE:
        changed.docker.shm_size = docker.shm_size
    return changed
