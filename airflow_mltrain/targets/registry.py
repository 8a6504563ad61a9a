"""From a compute target's name to the target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.errors import ConfigurationError, TargetNotFoundError
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.base import ComputeTarget
from airflow_mltrain.targets.local import LocalTarget

LOCAL: Final = "local"
CONNECTION_TYPE = "mltrain_compute"


def connect(name: str, settings: Settings) -> ComputeTarget:
    """The compute target of that name: `local`, or an Airflow connection id.

    Raises TargetNotFoundError where there is no such connection or it is of a type that cannot run
    jobs, and ConfigurationError where its fields cannot be used.
    """
    if name == LOCAL:
        return LocalTarget(
            name,
            settings.local_root,
            max_concurrent_runs=settings.local_max_concurrent_runs,
            environments_max_bytes=settings.environments_max_bytes,
        )
    # A connection is Airflow's to find, in its environment, its secrets backends or its database.
    from airflow.sdk import BaseHook  # noqa: PLC0415
    from airflow.sdk.exceptions import AirflowNotFoundException  # noqa: PLC0415

    try:
        connection = BaseHook.get_connection(name)
    except AirflowNotFoundException:
        raise TargetNotFoundError(
            f"there is no compute target {name!r}: name an Airflow connection of type "
            f"{CONNECTION_TYPE!r}, or {LOCAL!r} for this machine"
        ) from None
    if connection.conn_type != CONNECTION_TYPE:
        raise TargetNotFoundError(
            f"Airflow connection {name!r} is of type {connection.conn_type!r}, which cannot run "
            f"training runs: name one of type {CONNECTION_TYPE!r}"
        )
    return _from_connection(name, connection.extra_dejson, settings)


class LocalTargetConfig(ConfigModel):
    """The extra of a connection to this machine; the UI stores what was left empty as null."""

    kind: Literal["local"] | None = LOCAL
    root: Annotated[str, Field(strict=True, pattern="^/")] | None = None
    max_concurrent_runs: Annotated[int, Field(strict=True, ge=1)] | None = None


def _from_connection(name: str, extra: Mapping[str, Any], settings: Settings) -> LocalTarget:
    try:
        config = LocalTargetConfig.model_validate(extra)
    except ConfigurationError as error:
        raise ConfigurationError(f"connection {name!r}: {error}") from error
    root = Path(config.root) if config.root else settings.local_root.with_name(f"local-{name}")
    return LocalTarget(
        name,
        root,
        max_concurrent_runs=config.max_concurrent_runs,
        environments_max_bytes=settings.environments_max_bytes,
    )
