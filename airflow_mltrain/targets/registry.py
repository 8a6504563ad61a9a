"""From a compute target's name to the target."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from airflow_mltrain.config.fault import describe
from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.errors import ConfigurationError, TargetNotFoundError
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.base import ComputeTarget

if TYPE_CHECKING:
    from airflow_mltrain.targets.docker.config import DockerTargetConfig
    from airflow_mltrain.targets.local import LocalTarget
    from airflow_mltrain.targets.spark.config import SparkTargetConfig
    from airflow_mltrain.targets.spark.target import DriverMachine
    from airflow_mltrain.targets.ssh import SshTarget
    from airflow_mltrain.targets.ssh_config import SshTargetConfig

LOCAL: Final = "local"
SSH: Final = "ssh"
DOCKER: Final = "docker"
SPARK: Final = "spark"
CONNECTION_TYPE: Final = "mltrain_compute"
_USABLE_TYPES: Final = f"{SSH!r}, {DOCKER!r}, {SPARK!r} or {CONNECTION_TYPE!r}"
_KINDS: Final = (LOCAL, SSH, DOCKER, SPARK)
# What a kind needs is imported where that kind is connected: a task has one target, and waits.


def connect(name: str, settings: Settings) -> ComputeTarget:
    """The compute target of that name: `local`, or an Airflow connection id.

    Raises TargetNotFoundError where there is no such connection or it is of a type that cannot run
    jobs, and ConfigurationError where its fields cannot be used.
    """
    if name == LOCAL:
        limit = settings.local_max_concurrent_runs
        return _at(name, settings.local_root, settings, max_concurrent_runs=limit)
    connection = _find_connection(name)
    if connection is None:
        raise _no_target(name)
    extra = connection.extra_dejson
    if connection.conn_type == SSH:
        return _connect_ssh(name, name, _read_ssh(name, extra), settings)
    if connection.conn_type == DOCKER:
        return _connect_docker(name, _read_docker(name, extra), connection, settings)
    if connection.conn_type == SPARK:
        return _connect_spark(name, name, _read_spark(name, extra), settings)
    if connection.conn_type != CONNECTION_TYPE:
        raise TargetNotFoundError(
            f"Airflow connection {name!r} is of type {connection.conn_type!r}, which cannot run "
            f"training runs: name one of type {_USABLE_TYPES}"
        )
    return _connect_form(name, extra, settings)


def _no_target(name: str) -> TargetNotFoundError:
    return TargetNotFoundError(
        f"there is no compute target {name!r}: name an Airflow connection of type "
        f"{_USABLE_TYPES}, or {LOCAL!r} for this machine"
    )


def _find_connection(conn_id: str) -> Any:
    """Airflow's connection, from its environment, its secrets backends or its database."""
    from airflow.sdk import BaseHook  # noqa: PLC0415 - `local` needs none
    from airflow.sdk.exceptions import AirflowNotFoundException  # noqa: PLC0415

    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None


def _connect_form(name: str, extra: Mapping[str, Any], settings: Settings) -> ComputeTarget:
    # The form has the fields of every kind, and stores what was left empty as null.
    filled = {key: value for key, value in extra.items() if value is not None}
    kind = filled.setdefault("kind", LOCAL)
    if kind not in _KINDS:
        raise ConfigurationError(
            f"connection {name!r}: kind: {describe(kind)} was given; it should be {LOCAL!r}, "
            f"{SSH!r}, {DOCKER!r} or {SPARK!r}"
        )
    _require_fields_of(kind, name, filled)
    if kind == SSH:
        return _connect_ssh_form(name, filled, settings)
    if kind == DOCKER:
        return _connect_docker_form(name, filled, settings)
    if kind == SPARK:
        return _connect_spark_form(name, filled, settings)
    return _connect_local(name, filled, settings)


def _require_fields_of(kind: str, name: str, filled: Mapping[str, Any]) -> None:
    """The form shows the fields of every kind, so it is easy to fill one that counts nowhere."""
    forms = _forms()
    for field in filled:
        kinds = [repr(one) for one, form in forms.items() if field in form.model_fields]
        if kinds and repr(kind) not in kinds:
            raise ConfigurationError(
                f"connection {name!r}: {field}: it is for kind {' or '.join(kinds)}, and the kind "
                f"is {kind!r}; leave it empty"
            )


def _forms() -> Mapping[str, type[ConfigModel]]:
    """What the form of each kind has."""
    from airflow_mltrain.targets.docker.config import DockerFormConfig  # noqa: PLC0415
    from airflow_mltrain.targets.local_config import LocalTargetConfig  # noqa: PLC0415
    from airflow_mltrain.targets.spark.config import SparkFormConfig  # noqa: PLC0415
    from airflow_mltrain.targets.ssh_config import SshFormConfig  # noqa: PLC0415

    forms = (LocalTargetConfig, SshFormConfig, DockerFormConfig, SparkFormConfig)
    return dict(zip(_KINDS, forms, strict=True))


def find_connections(name: str, of_store: str | None = None) -> dict[str, str]:
    """The Airflow connections that a target is made of, by id, as JSON; `local` needs none.

    And `of_store`, that of the artifact store. Who has them in the environment
    (`AIRFLOW_CONN_...`) can reach the target outside of Airflow.

    Raises TargetNotFoundError or ConfigurationError for one that is not there, as `connect` does.
    """
    found: dict[str, str] = {}
    wanted = {} if name == LOCAL else {name: ""}
    if of_store is not None:
        wanted.setdefault(of_store, "[mltrain] artifacts")
    while wanted:
        conn_id, named_by = wanted.popitem()
        connection = _find_connection(conn_id)
        if connection is None:
            raise _no_connection(named_by, conn_id) if named_by else _no_target(name)
        found[conn_id] = connection.as_json()
        for key, other in _leads_to(conn_id, connection).items():
            if other not in found:
                wanted.setdefault(other, _of_target(name, conn_id) + key)
    return found


def _leads_to(conn_id: str, connection: Any) -> dict[str, str]:
    """The other connections that one names, by the key that names them."""
    extra = connection.extra_dejson
    found: dict[str, str | None] = {}
    if connection.conn_type == CONNECTION_TYPE:
        found = {key: extra.get(key) for key in ("connection", "jump_host", "edge_node")}
    elif connection.conn_type == SSH:
        found = {"jump_host": _read_ssh(conn_id, extra).jump_host}
    elif connection.conn_type == SPARK:
        found = {"edge_node": _read_spark(conn_id, extra).edge_node}
    return {key: other for key, other in found.items() if other}


def _of_target(name: str, conn_id: str) -> str:
    """Where a fault is, in a connection that a target of that name is made of."""
    place = f"connection {conn_id!r}: "
    return place if conn_id == name else f"compute target {name!r}: {place}"


def _no_connection(named_by: str, conn_id: str) -> ConfigurationError:
    return ConfigurationError(
        f"{named_by}: there is no Airflow connection {conn_id!r}; make one of that name, or name "
        "another"
    )


def _connect_local(name: str, extra: Mapping[str, Any], settings: Settings) -> ComputeTarget:
    from airflow_mltrain.targets.local_config import LocalTargetConfig  # noqa: PLC0415

    config = _validated(name, LocalTargetConfig, extra)
    root = Path(config.root) if config.root else settings.local_root.with_name(f"local-{name}")
    return _at(
        name, root, settings, max_concurrent_runs=config.max_concurrent_runs, gpus=config.gpus
    )


def _at(name: str, root: Path, settings: Settings, **facts: Any) -> LocalTarget:
    """The target of a root folder on this machine."""
    from airflow_mltrain.targets.local import LocalTarget  # noqa: PLC0415 - its agent is dear

    limit = settings.environments_max_bytes
    return LocalTarget(name, root, environments_max_bytes=limit, **facts)


def _connect_ssh_form(name: str, extra: Mapping[str, Any], settings: Settings) -> ComputeTarget:
    from airflow_mltrain.targets.config import overlay  # noqa: PLC0415
    from airflow_mltrain.targets.ssh_config import SshFormConfig  # noqa: PLC0415

    form = _validated(name, SshFormConfig, extra)
    below = _find_below(name, form.connection, SSH)
    if form.jump_host:
        _find_below(name, form.jump_host, SSH, key="jump_host")
    config = overlay(form, _read_ssh(form.connection, below.extra_dejson))
    return _connect_ssh(name, form.connection, config, settings)


def _connect_docker_form(name: str, extra: Mapping[str, Any], settings: Settings) -> ComputeTarget:
    from airflow_mltrain.targets.config import overlay  # noqa: PLC0415
    from airflow_mltrain.targets.docker.config import DockerFormConfig  # noqa: PLC0415

    form = _validated(name, DockerFormConfig, extra)
    if form.connection is None:
        return _connect_docker(name, form, None, settings)
    below = _find_below(name, form.connection, DOCKER)
    config = overlay(form, _read_docker(form.connection, below.extra_dejson))
    return _connect_docker(name, config, below, settings)


def _connect_spark_form(name: str, extra: Mapping[str, Any], settings: Settings) -> ComputeTarget:
    from airflow_mltrain.targets.config import overlay  # noqa: PLC0415
    from airflow_mltrain.targets.spark.config import SparkFormConfig  # noqa: PLC0415

    form = _validated(name, SparkFormConfig, extra)
    below = _find_below(name, form.connection, SPARK)
    config = overlay(form, _read_spark(form.connection, below.extra_dejson))
    return _connect_spark(name, form.connection, config, settings)


def _find_below(name: str, conn_id: str, conn_type: str, key: str = "connection") -> Any:
    """The connection that a form leads to."""
    below = _find_connection(conn_id)
    if below is None:
        raise _no_connection(f"connection {name!r}: {key}", conn_id)
    if below.conn_type != conn_type:
        raise ConfigurationError(
            f"connection {name!r}: {key}: {conn_id!r} is of type {below.conn_type!r}; name "
            f"one of type {conn_type!r}"
        )
    return below


def _connect_docker(
    name: str, config: DockerTargetConfig, connection: Any, settings: Settings
) -> ComputeTarget:
    from airflow_mltrain.targets.docker.target import DockerTarget  # noqa: PLC0415 - docker is dear

    login = None
    if connection is not None and connection.host and connection.login:
        from airflow_mltrain.targets.docker.registry_login import RegistryLogin  # noqa: PLC0415

        registry = f"{connection.host}:{connection.port}" if connection.port else connection.host
        login = RegistryLogin(registry, connection.login, connection.password or "")
    limit = settings.environments_max_bytes
    return DockerTarget(name, config, login, environments_max_bytes=limit)


def _connect_ssh(
    name: str, connection: str, config: SshTargetConfig, settings: Settings
) -> SshTarget:
    from airflow_mltrain.targets.ssh import SshTarget  # noqa: PLC0415 - paramiko is dear
    from airflow_mltrain.targets.ssh_connection import HostConnector  # noqa: PLC0415

    try:
        hosts = HostConnector(connection, config)
    except ConfigurationError as error:
        if connection == name:
            raise
        raise ConfigurationError(f"compute target {name!r}: {error}") from error
    limit = settings.environments_max_bytes
    return SshTarget(name, config, hosts, environments_max_bytes=limit)


def _connect_spark(
    name: str, connection: str, config: SparkTargetConfig, settings: Settings
) -> ComputeTarget:
    from airflow_mltrain.targets.spark.command import find_deployment  # noqa: PLC0415 - dear
    from airflow_mltrain.targets.spark.target import SparkTarget  # noqa: PLC0415

    deployment = find_deployment(name, connection)
    machine: DriverMachine
    if config.edge_node is not None:
        node = _find_below(name, config.edge_node, SSH, key="edge_node")
        there = _read_ssh(config.edge_node, node.extra_dejson)
        machine = _connect_ssh(name, config.edge_node, there, settings)
    else:
        root = Path(config.root) if config.root else settings.local_root.with_name(f"spark-{name}")
        limit = config.max_concurrent_runs
        machine = _at(name, root, settings, max_concurrent_runs=limit)
    return SparkTarget(machine, connection, deployment, config)


def _read_ssh(name: str, extra: Mapping[str, Any]) -> SshTargetConfig:
    from airflow_mltrain.targets.config import read_extra  # noqa: PLC0415
    from airflow_mltrain.targets.ssh_config import SshTargetConfig  # noqa: PLC0415

    return read_extra(SshTargetConfig, name, extra)


def _read_docker(name: str, extra: Mapping[str, Any]) -> DockerTargetConfig:
    from airflow_mltrain.targets.config import read_extra  # noqa: PLC0415
    from airflow_mltrain.targets.docker.config import DockerTargetConfig  # noqa: PLC0415

    return read_extra(DockerTargetConfig, name, extra)


def _read_spark(name: str, extra: Mapping[str, Any]) -> SparkTargetConfig:
    from airflow_mltrain.targets.config import read_extra  # noqa: PLC0415
    from airflow_mltrain.targets.spark.config import SparkTargetConfig  # noqa: PLC0415

    return read_extra(SparkTargetConfig, name, extra)


_Config = TypeVar("_Config", bound=ConfigModel)


def _validated(name: str, model: type[_Config], extra: Mapping[str, Any]) -> _Config:
    try:
        return model.model_validate(extra)
    except ConfigurationError as error:
        raise ConfigurationError(f"connection {name!r}: {error}") from error
