"""From a compute target's name to the target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from airflow_mltrain.config.fault import describe
from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.errors import ConfigurationError, TargetNotFoundError
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.base import ComputeTarget
from airflow_mltrain.targets.config import (
    LocalTargetConfig,
    SshFormConfig,
    SshTargetConfig,
    overlay,
    read_ssh_extra,
)
from airflow_mltrain.targets.local import LocalTarget

LOCAL: Final = "local"
SSH: Final = "ssh"
CONNECTION_TYPE: Final = "mltrain_compute"
_USABLE_TYPES: Final = f"{SSH!r} or {CONNECTION_TYPE!r}"


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
            f"{_USABLE_TYPES}, or {LOCAL!r} for this machine"
        ) from None
    extra = connection.extra_dejson
    if connection.conn_type == SSH:
        return _connect_ssh(name, name, read_ssh_extra(name, extra), settings)
    if connection.conn_type != CONNECTION_TYPE:
        raise TargetNotFoundError(
            f"Airflow connection {name!r} is of type {connection.conn_type!r}, which cannot run "
            f"training runs: name one of type {_USABLE_TYPES}"
        )
    return _connect_form(name, extra, settings)


def _connect_form(name: str, extra: Mapping[str, Any], settings: Settings) -> ComputeTarget:
    # The form has the fields of every kind, and stores what was left empty as null.
    filled = {key: value for key, value in extra.items() if value is not None}
    kind = filled.setdefault("kind", LOCAL)
    if kind == SSH:
        return _connect_ssh_form(name, filled, settings)
    if kind != LOCAL:
        raise ConfigurationError(
            f"connection {name!r}: kind: {describe(kind)} was given; it should be {LOCAL!r} or "
            f"{SSH!r}"
        )
    if "connection" in filled:
        raise ConfigurationError(
            f"connection {name!r}: connection: it is for kind {SSH!r}, and the kind is {LOCAL!r}"
        )
    return _connect_local(name, filled, settings)


def find_connections(name: str) -> dict[str, str]:
    """The Airflow connections that a target is made of, by id, as JSON; `local` needs none.

    Who has them in the environment (`AIRFLOW_CONN_...`) can reach the target outside of Airflow.
    """
    from airflow.sdk import BaseHook  # noqa: PLC0415

    found: dict[str, str] = {}
    wanted = [] if name == LOCAL else [name]
    while wanted:
        conn_id = wanted.pop()
        if conn_id in found:
            continue
        connection = BaseHook.get_connection(conn_id)
        found[conn_id] = connection.as_json()
        extra = connection.extra_dejson
        config = read_ssh_extra(conn_id, extra) if connection.conn_type == SSH else None
        leads_to = (extra.get("connection"), extra.get("jump_host"), config and config.jump_host)
        wanted += [other for other in leads_to if other]
    return found


def _connect_local(name: str, extra: Mapping[str, Any], settings: Settings) -> ComputeTarget:
    config = _validated(name, LocalTargetConfig, extra)
    root = Path(config.root) if config.root else settings.local_root.with_name(f"local-{name}")
    return LocalTarget(
        name,
        root,
        max_concurrent_runs=config.max_concurrent_runs,
        environments_max_bytes=settings.environments_max_bytes,
    )


def _connect_ssh_form(name: str, extra: Mapping[str, Any], settings: Settings) -> ComputeTarget:
    from airflow.sdk import BaseHook  # noqa: PLC0415
    from airflow.sdk.exceptions import AirflowNotFoundException  # noqa: PLC0415

    form = _validated(name, SshFormConfig, extra)
    try:
        below = BaseHook.get_connection(form.connection)
    except AirflowNotFoundException:
        raise ConfigurationError(
            f"connection {name!r}: connection: there is no Airflow connection {form.connection!r}"
        ) from None
    if below.conn_type != SSH:
        raise ConfigurationError(
            f"connection {name!r}: connection: {form.connection!r} is of type "
            f"{below.conn_type!r}; name one of type {SSH!r}"
        )
    config = overlay(form, read_ssh_extra(form.connection, below.extra_dejson))
    return _connect_ssh(name, form.connection, config, settings)


def _connect_ssh(
    name: str, connection: str, config: SshTargetConfig, settings: Settings
) -> ComputeTarget:
    from airflow_mltrain.targets.ssh import SshTarget  # noqa: PLC0415 - paramiko is dear
    from airflow_mltrain.targets.ssh_connection import HostConnector  # noqa: PLC0415

    hosts = HostConnector(connection, config)
    limit = settings.environments_max_bytes
    return SshTarget(name, config, hosts, environments_max_bytes=limit)


_Config = TypeVar("_Config", bound=ConfigModel)


def _validated(name: str, model: type[_Config], extra: Mapping[str, Any]) -> _Config:
    try:
        return model.model_validate(extra)
    except ConfigurationError as error:
        raise ConfigurationError(f"connection {name!r}: {error}") from error
