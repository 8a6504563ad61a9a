"""The keys of a command job in YAML, as version 2 of Azure ML's SDK has it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Word: TypeAlias = str | int | float
Literal_: TypeAlias = str | int | float | bool


class JobSection(BaseModel):
    """Keys of a file; others are refused, and so are wrong types."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class BuildKeys(JobSection):
    """A directory that an image is built from."""

    path: str
    dockerfile_path: str | None = None


class JobEnvironmentKeys(JobSection):
    """An environment that is written into its job."""

    name: str | None = None
    version: str | int | None = None
    description: str | None = None
    tags: dict[str, Word] | None = None
    image: str | None = None
    conda_file: str | dict[str, Any] | None = None
    build: BuildKeys | None = None
    os_type: str | None = None


class InputKeys(JobSection):
    """A value, or data, that the command gets."""

    type: str | None = None
    path: str | None = None
    mode: str | None = None
    value: Literal_ | None = None
    default: Literal_ | None = None
    optional: bool | None = None
    description: str | None = None
    min: int | float | None = None
    max: int | float | None = None
    enum: list[Literal_] | None = None


class OutputKeys(JobSection):
    """A folder that the command writes to."""

    type: str | None = None
    path: str | None = None
    mode: str | None = None
    name: str | None = None
    version: str | int | None = None
    description: str | None = None


class JobResourcesKeys(JobSection):
    """How much a job gets."""

    instance_count: int | None = None
    instance_type: str | None = None
    shm_size: str | None = None
    docker_args: str | list[Word] | None = None
    locations: list[str] | None = None
    properties: dict[str, Any] | None = None
    max_instance_count: int | None = None


class LimitsKeys(JobSection):
    """How long a job may take."""

    timeout: Annotated[int, Field(gt=0)] | None = None


class CommandJobKeys(JobSection):
    """A command job."""

    schema_: str | None = Field(default=None, alias="$schema")
    type: Literal["command"] | None = None
    name: str | None = None
    display_name: str | None = None
    experiment_name: str | None = None
    description: str | None = None
    tags: dict[str, Word] | None = None
    properties: dict[str, Any] | None = None
    command: str
    code: str
    environment: str | JobEnvironmentKeys | None = None
    environment_variables: dict[str, Word] | None = None
    distribution: dict[str, Any] | None = None
    compute: str | None = None
    resources: JobResourcesKeys | None = None
    limits: LimitsKeys | None = None
    inputs: dict[str, Literal_ | InputKeys] | None = None
    outputs: dict[str, OutputKeys | None] | None = None
    identity: dict[str, Any] | None = None
    services: dict[str, Any] | None = None
    queue_settings: dict[str, Any] | None = None
    parent_job_name: str | None = None
