"""What crosses the line to a Spark target with a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SparkRequest:
    """What a script asks of Spark; for targets that have one."""

    packages: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    jars: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)  # secrets in it
    secret_names: frozenset[str] = frozenset()  # of the properties that are known to be secret
    driver_memory: str | None = None
    driver_cores: int | None = None  # where the driver runs on the cluster
    executor_memory: str | None = None
    executor_cores: int | None = None
    executor_instances: int | None = None
    expects_session: bool = False  # say so where the script makes none


@dataclass(frozen=True)
class SparkDriver:
    """How a driver is begun on its machine, as the job agent there takes it."""

    spec: Mapping[str, Any]
    secrets: Mapping[str, Any] = field(repr=False)  # kept on no disk
