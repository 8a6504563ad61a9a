"""What a Spark session needs, and how much of its cluster a run may use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.config.text import NonEmptyText, NumberAsText, is_template
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.runtime.job_agent.spark.secret_property import has_secret_name

_COORDINATES: Final = re.compile(r"[^\s:,]+:[^\s:,]+:[^\s:,]+")
_MEMORY: Final = re.compile(r"[1-9][0-9]*[kmgt]b?", re.IGNORECASE)
_PROPERTY: Final = re.compile(r"spark\.[^\s=]+")
_WITH_LOGIN: Final = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://[^/\s]*@")
_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_OWN_SETTINGS: Final = {
    "spark.master": "the connection",
    "spark.submit.deployMode": "the connection's extra, as deploy-mode",
    "spark.submit.pyFiles": "the source directory: its modules are sent to the executors",
    "spark.jars": "environment.spark.jars",
    "spark.jars.packages": "environment.spark.packages",
    "spark.jars.repositories": "environment.spark.repositories",
}


def _check_package(package: str) -> str:
    if not is_template(package) and not _COORDINATES.fullmatch(package):
        raise ValueError("it should be Maven coordinates: group:artifact:version")
    return package


def _check_place(place: str) -> str:
    if "," in place:
        raise ValueError("it should be one place without ','; give each as an item of the list")
    if _WITH_LOGIN.match(place):
        raise ValueError(
            "a login in an address is kept and shown wherever the run is; leave it out, and give "
            "it to Spark on the driver's machine, in the file that spark.jars.ivySettings names"
        )
    return place


def _check_memory(size: str) -> str:
    if not is_template(size) and not _MEMORY.fullmatch(size):
        raise ValueError("it should be a whole number with a unit, such as '4g' or '512m'")
    return size.lower() if not is_template(size) else size


def _check_configuration(configuration: dict[str, str]) -> dict[str, str]:
    for name, value in configuration.items():
        if is_template(name):
            continue
        if not _PROPERTY.fullmatch(name):
            raise ValueError(f"{name!r} is no Spark property; its name should begin with 'spark.'")
        if name in _OWN_SETTINGS:
            raise ValueError(f"{name} comes from {_OWN_SETTINGS[name]}; leave it out here")
        if has_secret_name(name) and not (is_template(value) or _REFERENCE.fullmatch(value)):
            raise ValueError(
                f"{name} may be a secret, which is kept in no configuration; write '${{NAME}}', "
                "which is looked up among the environment variables where the run is submitted"
            )
    return configuration


def _refuse_bool(given: object) -> object:
    if isinstance(given, bool):
        raise ValueError("it should be a whole number")  # noqa: TRY004 - pydantic collects ValueErrors
    return given


Package: TypeAlias = Annotated[NonEmptyText, AfterValidator(_check_package)]
Place: TypeAlias = Annotated[NonEmptyText, AfterValidator(_check_place)]
SparkMemory: TypeAlias = Annotated[NonEmptyText, AfterValidator(_check_memory)]
SparkCount: TypeAlias = Annotated[int, BeforeValidator(_refuse_bool), Field(ge=1, le=100_000)]
Properties: TypeAlias = Annotated[
    dict[NonEmptyText, NumberAsText], AfterValidator(_check_configuration)
]


class SparkSection(ConfigModel):
    """What a Spark session needs: packages by Maven coordinates, jars, settings."""

    packages: list[Package] = Field(default_factory=list)
    repositories: list[Place] = Field(default_factory=list)
    jars: list[Place] = Field(default_factory=list)
    configuration: Properties = Field(default_factory=dict)


class SparkConfiguration(ConfigModel):
    """How much of a Spark cluster a run may use; what is not said is the cluster's own default."""

    driver_memory: SparkMemory | None = None
    driver_cores: SparkCount | None = None
    executor_memory: SparkMemory | None = None
    executor_cores: SparkCount | None = None
    executor_instances: SparkCount | None = None
    configuration: Properties = Field(default_factory=dict)


def list_references(properties: Mapping[str, str]) -> frozenset[str]:
    """The names of the properties whose value is looked up where the run is submitted."""
    return frozenset(name for name, value in properties.items() if _REFERENCE.fullmatch(value))


def look_up_secrets(properties: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """The properties, each `${NAME}` with the value that this variable has.

    Raises ConfigurationError, which shows no value, where a variable is missing.
    """
    found = {}
    for name, value in properties.items():
        match = _REFERENCE.fullmatch(value)
        if match is None:
            found[name] = value
        elif match.group(1) in variables:
            found[name] = variables[match.group(1)]
        else:
            raise ConfigurationError(
                f"Spark property {name}: the variable {match.group(1)} is not set; set it where "
                "the run is submitted"
            )
    return found
