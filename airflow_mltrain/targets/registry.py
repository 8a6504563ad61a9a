"""From a compute target's name to the target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_mltrain.errors import ConfigurationError, TargetNotFoundError
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.base import ComputeTarget
from airflow_mltrain.targets.local import LocalTarget

LOCAL = "local"
CONNECTION_TYPE = "mltrain_compute"


def connect(name: str, settings: Settings) -> ComputeTarget:
    """The compute target of that name: `local`, or an Airflow connection id.

    Raises TargetNotFoundError where there is no such connection or it is of a type that cannot run
    jobs, and ConfigurationError where its fields cannot be used.
    """
    if name == LOCAL:
        return LocalTarget(
            name, settings.local_root, max_concurrent_runs=settings.local_max_concurrent_runs
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


def _from_connection(name: str, extra: Mapping[str, Any], settings: Settings) -> LocalTarget:
    kind = extra.get("kind") or LOCAL
    if kind != LOCAL:
        raise ConfigurationError(f"connection {name!r}: kind = {kind!r}; it can be {LOCAL!r}")
    slots = extra.get("max_concurrent_runs")
    if slots is not None and (not isinstance(slots, int) or slots < 1):
        raise ConfigurationError(
            f"connection {name!r}: max_concurrent_runs = {slots!r}; give a whole number from 1 on, "
            "or leave it out for no limit"
        )
    root = extra.get("root")
    if root is not None and not (isinstance(root, str) and root.startswith("/")):
        raise ConfigurationError(f"connection {name!r}: root = {root!r}; give an absolute path")
    folder = Path(root) if root else settings.local_root.with_name(f"local-{name}")
    return LocalTarget(name, folder, max_concurrent_runs=slots)
