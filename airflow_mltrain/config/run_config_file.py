"""The keys of a `.runconfig` file of Azure ML's SDK, and those that this package adds."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Text: TypeAlias = str | None
Word: TypeAlias = str | int | float
Variables: TypeAlias = dict[str, str | int | float | dict[str, str]]
Count: TypeAlias = Annotated[int, Field(gt=0)]


class FileSection(BaseModel):
    """Keys of a file in camelCase; others are refused, and so are wrong types."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )


class PythonKeys(FileSection):
    """What Python an environment has."""

    user_managed_dependencies: bool | None = None
    interpreter_path: Text = None
    conda_dependencies_file: Text = None
    conda_dependencies: dict[str, Any] | None = None
    base_conda_environment: Text = None
    constraints: list[str] | None = None


class RegistryKeys(FileSection):
    """Where an image comes from, and who may have it."""

    address: Text = None
    username: Text = None
    password: Text = None
    registry_identity: Any = None


class PlatformKeys(FileSection):
    """What an image is made for."""

    os: Text = None
    architecture: Text = None


class BuildContextKeys(FileSection):
    """A directory that an image is built from."""

    snapshot_id: Text = None
    location: Text = None
    location_type: Text = None
    dockerfile_path: Text = None


class EnvironmentDockerKeys(FileSection):
    """What image an environment has."""

    enabled: bool | None = None
    base_image: Text = None
    base_dockerfile: Text = None
    build_context: BuildContextKeys | None = None
    shared_volumes: bool | None = None
    gpu_support: bool | None = None
    shm_size: Text = None
    arguments: list[Word] | None = None
    base_image_registry: RegistryKeys | None = None
    platform: PlatformKeys | None = None


class SparkPackageKeys(FileSection):
    """A package by its Maven coordinates."""

    group: str
    artifact: str
    version: str | int | float


class EnvironmentSparkKeys(FileSection):
    """What a Spark session has."""

    repositories: list[str] | None = None
    packages: list[SparkPackageKeys] | None = None
    precache_packages: bool | None = None
    jars: list[str] | None = None
    configuration: dict[str, Word] | None = None


class EnvironmentKeys(FileSection):
    """What software a script needs."""

    name: Text = None
    version: str | int | None = None
    environment_variables: dict[str, Word] | None = None
    python: PythonKeys | None = None
    docker: EnvironmentDockerKeys | None = None
    spark: EnvironmentSparkKeys | None = None
    databricks: dict[str, Any] | None = None
    r: Any = None
    inferencing_stack_version: Text = None
    asset_id: Text = None


class HistoryKeys(FileSection):
    """What is kept of a run."""

    output_collection: bool | None = None
    snapshot_project: bool | None = None
    directories_to_watch: list[str] | None = None


class SparkKeys(FileSection):
    """How much of a Spark cluster a run may use."""

    configuration: dict[str, Word] | None = None
    driver_memory: Text = None
    driver_cores: Count | None = None
    executor_memory: Text = None
    executor_cores: Count | None = None
    executor_instances: Count | None = None


class DockerKeys(FileSection):
    """Whether a run needs a container."""

    use_docker: bool | None = None
    shared_volumes: bool | None = None
    arguments: list[Word] | None = None
    shm_size: Text = None


class ResourcesKeys(FileSection):
    """How much of a machine a run may use."""

    cpus: int | float | None = None
    memory: Text = None
    gpus: int | None = None


class RunConfigKeys(FileSection):
    """A `.runconfig` file."""

    script: Text = None
    command: str | list[Word] | None = None
    arguments: str | list[Word] | None = None
    target: Text = None
    framework: Literal["Python", "PySpark", "TensorFlow", "PyTorch", "CNTK"] | Text = None
    communicator: Text = None
    max_run_duration_seconds: Count | None = None
    node_count: int | None = None
    priority: int | None = None
    environment: EnvironmentKeys | Text = None
    history: HistoryKeys | None = None
    spark: SparkKeys | None = None
    docker: DockerKeys | None = None
    hdi: dict[str, Any] | None = None
    tensorflow: dict[str, Any] | None = None
    mpi: dict[str, Any] | None = None
    pytorch: dict[str, Any] | None = None
    paralleltask: dict[str, Any] | None = None
    data_references: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    datacaches: list[Any] | None = None
    output_data: dict[str, Any] | None = None
    source_directory_data_store: Text = None
    amlcompute: dict[str, Any] | None = None
    auto_cluster_compute_specification: Any = None
    kubernetescompute: dict[str, Any] | None = None
    credential_passthrough: bool | None = None
    environment_variables: Variables | None = None
    application_endpoints: dict[str, Any] | None = None
    services: dict[str, Any] | None = None
    resources: ResourcesKeys | None = None
    prepare_timeout_seconds: Count | None = None
    lease_seconds: Count | None = None
    exit_code_policy: dict[str, str] | None = None  # codes in quotes
    max_preemptions: Annotated[int, Field(ge=0)] | None = None
    tags: dict[str, Word] | None = None
