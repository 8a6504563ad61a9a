"""What a connection says of a Spark cluster and of where drivers run, checked."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.targets.config import Count, Text, Variables

_PAGES: Final = re.compile(r"https?://[^/\s]+(/\S*)?")
_PATIENCE_SECONDS: Final = 600
_ALONE_SECONDS: Final = 300
_PORTS: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_HIGHEST_PORT: Final = 65535


def _check_pages(value: str) -> str:
    if not _PAGES.fullmatch(value):
        raise ValueError("give the address of its pages: http://host:port")
    return value


def _check_folder(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("give an absolute path")
    return value


def _check_ports(value: str) -> str:
    match = _PORTS.fullmatch(value)
    low = int(match.group(1)) if match else 0
    high = int(match.group(2) or low) if match else 0
    if not 0 < low <= high <= _HIGHEST_PORT:
        raise ValueError("give a port or a range of them: 47000-47010")
    return value


_Pages = Annotated[Text, AfterValidator(_check_pages)]
_Ports = Annotated[Text, AfterValidator(_check_ports)]
_Folder = Annotated[Text, AfterValidator(_check_folder)]


class SparkTargetConfig(ConfigModel):
    """How drivers run, and where the cluster's pages are; `null` is as if it were not there."""

    edge_node: Text | None = None
    root: _Folder | None = None
    spark_home: _Folder | None = None
    python: Text | None = None
    master_pages: _Pages | None = None
    history_pages: _Pages | None = None
    executor_timeout_seconds: Annotated[int, Field(strict=True, ge=1)] | None = _PATIENCE_SECONDS
    master_gateway: _Pages | None = None
    callback_host: Text | None = None
    callback_ports: _Ports | None = None
    driver_alone_seconds: Annotated[int, Field(strict=True, ge=1)] = _ALONE_SECONDS
    max_concurrent_runs: Count | None = None
    environment_variables: Variables = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _check_edge_node(self) -> SparkTargetConfig:
        own = [name for name in ("root", "max_concurrent_runs") if getattr(self, name) is not None]
        if self.edge_node is not None and own:
            raise ValueError(
                f"{' and '.join(own)}: they are settings of the edge node's own connection; "
                "leave them out here"
            )
        return self


class SparkFormConfig(SparkTargetConfig):
    """The extra of a connection of our own type that points at one of type `spark`."""

    kind: Literal["spark"]
    connection: Text
