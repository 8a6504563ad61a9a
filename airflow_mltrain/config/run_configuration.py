"""Where a script runs, in which environment, with how much, and for how long at most."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    model_validator,
)

from airflow_mltrain.absent import refuse_given
from airflow_mltrain.config.docker_configuration import DockerConfiguration
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.environment_reference import check_reference
from airflow_mltrain.config.exit_code_policy import ExitCodePolicy, PreemptionCount
from airflow_mltrain.config.local_path import read_path
from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.config.resources import ResourcesSection
from airflow_mltrain.config.secret_reference import RunVariables
from airflow_mltrain.config.spark import SparkConfiguration
from airflow_mltrain.config.text import NonEmptyText, is_template

_FRAMEWORKS = {"python": "Python", "pyspark": "PySpark"}
_THIRTY_DAYS_IN_SECONDS = 30 * 24 * 3600
_ONE_HOUR_IN_SECONDS = 3600
_TEN_PREEMPTIONS = 10
# A watcher whose connection is dead notices after 20 seconds, and tries again up to 30 apart.
_LEAST_LEASE_SECONDS = 120


def _find_framework(given: object) -> object:
    framework = _FRAMEWORKS.get(given.lower()) if isinstance(given, str) else None
    if framework is None:
        raise ValueError("it should be 'Python' or 'PySpark'")
    return framework


def _check_name(reference: str) -> str:
    return reference if is_template(reference) else check_reference(reference)


def _find_name(given: object) -> object:
    return given if isinstance(given, str) else getattr(given, "name", given)


def _refuse_bool(given: object) -> object:
    if isinstance(given, bool):
        raise ValueError("it should be a whole number of seconds, or None for no limit")  # noqa: TRY004 - pydantic collects ValueErrors
    return given


def _check_lease(seconds: int | None) -> int | None:
    if seconds is not None and seconds < _LEAST_LEASE_SECONDS:
        raise ValueError(
            f"it should be at least {_LEAST_LEASE_SECONDS}, or None for no lease: who watches a "
            "run and loses its target for a moment is not back sooner"
        )
    return seconds


def _find_branch(given: object) -> str | None:
    if isinstance(given, str):
        return "<name>"
    return "<environment>" if isinstance(given, (Environment, Mapping)) else None


Framework: TypeAlias = Annotated[
    Literal["Python", "PySpark", "python", "pyspark"], BeforeValidator(_find_framework)
]
"""Written in any case, and kept as Python or PySpark."""

EnvironmentChoice: TypeAlias = Annotated[
    Annotated[Environment, Tag("<environment>")]
    | Annotated[str, AfterValidator(_check_name), Tag("<name>")],
    Discriminator(
        _find_branch,
        custom_error_type="environment_type",
        custom_error_message="it should be an Environment, a mapping with its fields, or its name",
    ),
]

TargetName: TypeAlias = Annotated[NonEmptyText, BeforeValidator(_find_name)]
"""The name of a compute target; what has a `name` will do."""

DurationSeconds: TypeAlias = Annotated[int, BeforeValidator(_refuse_bool), Field(gt=0, lt=2**31)]


class RunConfiguration(ConfigModel):
    """Where a script runs, in which environment, with how much, and for how long at most.

    An environment that is given by its name is looked up when the run is submitted. Preparing it
    on the target counts towards `prepare_timeout_seconds` and not towards the run's duration.
    """

    target: TargetName = "local"
    framework: Framework = "Python"
    environment: EnvironmentChoice | None = None
    environment_variables: RunVariables = Field(default_factory=dict, repr=False)
    resources: ResourcesSection = Field(default_factory=ResourcesSection)
    spark: SparkConfiguration = Field(default_factory=SparkConfiguration)
    docker: DockerConfiguration | None = None
    max_run_duration_seconds: DurationSeconds | None = _THIRTY_DAYS_IN_SECONDS
    lease_seconds: Annotated[DurationSeconds | None, AfterValidator(_check_lease)] = None
    prepare_timeout_seconds: DurationSeconds | None = _ONE_HOUR_IN_SECONDS
    exit_code_policy: ExitCodePolicy = Field(default_factory=dict)
    max_preemptions: PreemptionCount = _TEN_PREEMPTIONS
    _origin: Any = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _take_conda_dependencies(cls, given: object) -> object:
        """Azure ML's `RunConfiguration(conda_dependencies=...)` is an environment with those."""
        if not isinstance(given, Mapping) or "conda_dependencies" not in given:
            return given
        values = {name: value for name, value in given.items() if name != "conda_dependencies"}
        if given["conda_dependencies"] is None:
            return values
        if values.get("environment") is not None:
            raise ValueError(
                "environment and conda_dependencies were both given; give one of them"
            )
        environment = Environment("conda-dependencies")
        environment.python.conda_dependencies = given["conda_dependencies"]
        return {**values, "environment": environment}

    @classmethod
    def load(cls, path: str | PathLike[str], name: str | None = None) -> RunConfiguration:
        """Read a `.runconfig` of Azure ML's SDK: the file `path`, or `name` in the project `path`.

        What is not here is named in one warning; ConfigurationError names it where something else
        would be run than the file says, and every key that is wrong, with its line.
        """
        from airflow_mltrain.config.config_file import load_run_configuration  # noqa: PLC0415

        return load_run_configuration(read_path(path), name)

    def save(
        self,
        path: str | PathLike[str] | None = None,
        name: str | None = None,
        separate_environment_yaml: bool = False,  # noqa: FBT001, FBT002 - Azure ML's signature
    ) -> None:
        """Write a `.runconfig`: to the file `path`, or as `name` in the project `path`.

        Of one that was loaded, the file keeps its order, its comments and the keys that are not
        here; only what has changed since is changed in it. ConfigurationError where the file could
        not say all of it.
        """
        from airflow_mltrain.config.config_file import save_run_configuration  # noqa: PLC0415

        refuse_given(
            "RunConfiguration.save",
            {"separate_environment_yaml": "an environment is written into its run configuration"},
            {"separate_environment_yaml": separate_environment_yaml or None},
        )
        save_run_configuration(self, read_path(path or "."), name)

    @property
    def origin(self) -> Any:
        """The file that it was read from; None where it was made otherwise."""
        return self._origin

    def keep_origin(self, origin: Any) -> None:
        """Remember the file that it was read from, for it may be saved again."""
        self._origin = origin
