"""What a connection says of a Docker engine and of the containers on it, checked."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.config.size import check_size
from airflow_mltrain.targets.config import Count, Gpus, Text, Variables, parse_json

DEFAULT_ENGINE: Final = "unix:///var/run/docker.sock"
_ENGINE: Final = re.compile(r"(unix:///.+|(tcp|http|https)://[^/]+|ssh://[^/]+)/?")
_VOLUME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_MOUNT: Final = re.compile(r"(/[^:]*|[a-zA-Z0-9][a-zA-Z0-9_.-]+):(/[^:]+)(:ro|:rw)?")
_REPOSITORY: Final = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+")
_SOCKET: Final = "docker.sock"


def _check_engine(value: str) -> str:
    if not _ENGINE.fullmatch(value):
        raise ValueError(
            "give the URL of an engine: unix:///var/run/docker.sock, tcp://host:2376 or "
            "ssh://user@host"
        )
    return value


def _check_volume(value: str) -> str:
    if not _VOLUME.fullmatch(value):
        raise ValueError("a volume's name has two or more letters, digits, '_', '.' and '-'")
    return value


def _check_mount(value: str) -> str:
    if not _MOUNT.fullmatch(value):
        raise ValueError("give source:/target or source:/target:ro, source a volume or a path")
    if _SOCKET in value.partition(":")[0]:
        raise ValueError("who has the engine's socket owns its host; it is mounted for no run")
    return value


def _check_repository(value: str) -> str:
    if not _REPOSITORY.fullmatch(value):
        raise ValueError("give a registry and a repository, such as registry.example.org/team/ml")
    return value


_Size = Annotated[Text, AfterValidator(check_size)]


class DockerTargetConfig(ConfigModel):
    """How jobs run on a Docker engine; `null` is as if it were not there."""

    engine: Annotated[Text, AfterValidator(_check_engine)] = DEFAULT_ENGINE
    tls_ca: Text | None = None
    tls_cert: Text | None = None
    tls_key: Text | None = None
    image: Text | None = None
    python: Text | None = None
    pull: Literal["missing", "always"] = "missing"
    registry: Annotated[Text, AfterValidator(_check_repository)] | None = None
    volume: Annotated[Text, AfterValidator(_check_volume)] = "mltrain"
    network: Text | None = None
    runtime: Text | None = None
    user: Text | None = None
    mounts: Annotated[
        list[Annotated[Text, AfterValidator(_check_mount)]] | None, BeforeValidator(parse_json)
    ] = None
    shm_size: _Size | None = None
    memory: _Size | None = None
    cpus: Annotated[float, Field(gt=0)] | None = None
    gpus: Gpus = None
    max_concurrent_runs: Count | None = None
    environment_variables: Variables = Field(default=None, repr=False)
    keep_containers: Literal["never", "on_failure", "always"] = "never"

    @model_validator(mode="after")
    def _check_certificates(self) -> DockerTargetConfig:
        given = [self.tls_ca, self.tls_cert, self.tls_key]
        if any(given) and not all(given):
            raise ValueError("tls_ca, tls_cert and tls_key belong together; give all three")
        if any(given) and self.engine.startswith(("unix:", "ssh:")):
            raise ValueError("tls_ca, tls_cert and tls_key are for an engine at tcp://")
        return self


class DockerFormConfig(DockerTargetConfig):
    """The extra of a connection of our own type; `connection` has the registry's login."""

    kind: Literal["docker"]
    connection: Text | None = None
