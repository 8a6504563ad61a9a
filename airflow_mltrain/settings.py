"""The `[mltrain]` section of airflow.cfg, typed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from airflow_mltrain.errors import ConfigurationError

SECTION = "mltrain"

_AZURE: Final = ("abfs", "abfss", "az")
_AZURE_ACCOUNT: Final = re.compile(r"[a-z0-9-]+\.(dfs|blob)\.core\.windows\.net")
_AZURE_CONTAINER: Final = re.compile(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*|\$(root|web)")


class StoreUrl(NamedTuple):
    """Where an artifact store lies that is no local folder, as fsspec names it."""

    scheme: str
    path: str  # for S3 and its like the bucket, and perhaps a prefix in it
    conn_id: str | None = None  # the Airflow connection that has its credentials

    def __str__(self) -> str:
        user = "" if self.conn_id is None else f"{self.conn_id}@"
        return f"{self.scheme}://{user}{self.path}"

    @property
    def is_azure(self) -> bool:
        """Whether its path may begin with `container@account.dfs.core.windows.net`."""
        return self.scheme in _AZURE

    @classmethod
    def parse(cls, option: str, given: str) -> StoreUrl:
        """The URL; ConfigurationError, which shows no secret, where it is none."""
        scheme, _, rest = given.partition("://")
        place, slash, path = rest.partition("/")
        user, at, host = place.rpartition("@")
        if ":" in user or "?" in rest:
            raise ConfigurationError(
                f"[{SECTION}] {option}: a URL with a password or with parameters would be shown "
                f"and recorded; write {scheme}://connection@bucket/prefix, with the id of an "
                "Airflow connection that has them, or give them in the environment"
            )
        if "::" in scheme:
            raise ConfigurationError(
                f"[{SECTION}] {option} = {given!r}: a chain of file systems is no store, as one "
                "of them may keep what has changed in another; name the last of them alone"
            )
        if (at and not user) or not (host + path).strip("/"):
            raise ConfigurationError(
                f"[{SECTION}] {option} = {given!r}: name a bucket and a prefix, such as "
                "s3://bucket/mltrain"
            )
        scheme = scheme.lower()
        if scheme in _AZURE and ("." in host or "@" in user):
            if not _AZURE_CONTAINER.fullmatch(user) or not _AZURE_ACCOUNT.fullmatch(host):
                raise ConfigurationError(
                    f"[{SECTION}] {option} = {given!r}: write {scheme}://container@account.dfs."
                    f"core.windows.net/prefix, or {scheme}://connection@container/prefix with an "
                    "Airflow connection, which names the account itself, as it does for one "
                    "that lies elsewhere than at core.windows.net"
                )
            return cls(scheme, rest.rstrip("/"))
        return cls(scheme, f"{host}{slash}{path}".rstrip("/"), user or None)


@dataclass(frozen=True)
class Settings:
    """What the `[mltrain]` section says, defaults filled in; `provider_info` documents it."""

    database_url: str = field(repr=False)  # it may hold a password
    artifacts: Path  # a cache of the store, where that has a URL
    local_root: Path
    local_max_concurrent_runs: int | None = None
    snapshot_max_megabytes: int = 300
    environments_max_bytes: int | None = None
    cancel_grace_seconds: float = 30.0
    defer_after_seconds: float = 10.0
    event_delay_seconds: float = 6.0
    unreachable_timeout_seconds: float | None = 86_400.0
    artifacts_url: StoreUrl | None = None

    def unreachable_limit(self, given_seconds: float | None) -> float | None:
        """How long a wait outlasts silence; None for ever, as given or else as configured.

        Whoever waits gives 0 for no limit, and None to leave it to the settings.
        """
        return self.unreachable_timeout_seconds if given_seconds is None else given_seconds or None


def read_settings(conf: Any = None) -> Settings:
    """The settings as airflow.cfg and `AIRFLOW__MLTRAIN__...` give them now.

    `conf` answers in place of Airflow's own. Raises ConfigurationError naming the option whose
    value cannot be used.
    """
    if conf is None:
        from airflow.sdk import conf  # noqa: PLC0415 - the core starts without Airflow

    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "mltrain"

    def text(option: str, default: object) -> str:
        return str(conf.get(SECTION, option, fallback="") or default)

    def number(option: str, default: float) -> float:
        given = text(option, default)
        try:
            value = float(given)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise ConfigurationError(
                f"[{SECTION}] {option} = {given!r}: give a number that is not negative"
            )
        return value

    # Airflow 3.3 may fail a deferral that resumes before the worker's first leg is reported, which
    # takes up to a heartbeat interval.
    folder, url = _artifacts(text("artifacts", home / "artifacts"))
    if url is not None:
        folder = Path(text("artifacts_cache", home / "artifacts-cache")).expanduser()
    heartbeat_seconds = conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0)
    return Settings(
        database_url=_database_url(text("database", f"sqlite:///{home / 'history.db'}")),
        artifacts=folder,
        local_root=Path(text("local_root", home / "local")).expanduser(),
        local_max_concurrent_runs=int(number("local_max_concurrent_runs", 0)) or None,
        snapshot_max_megabytes=int(number("snapshot_max_megabytes", 300)),
        environments_max_bytes=int(number("environments_max_gigabytes", 50) * 10**9) or None,
        cancel_grace_seconds=number("cancel_grace_seconds", 30),
        defer_after_seconds=number("defer_after_seconds", 10),
        event_delay_seconds=heartbeat_seconds + 1.0,
        unreachable_timeout_seconds=number("unreachable_timeout_seconds", 86_400) or None,
        artifacts_url=url,
    )


def _database_url(given: str) -> str:
    if "://" in given:
        return given
    from airflow.sdk import BaseHook  # noqa: PLC0415 - only where a connection is named
    from airflow.sdk.exceptions import AirflowNotFoundException  # noqa: PLC0415
    from sqlalchemy import URL  # noqa: PLC0415 - dear, and the history needs it anyway

    try:
        connection = BaseHook.get_connection(given)
    except AirflowNotFoundException:
        raise ConfigurationError(
            f"[{SECTION}] database = {given!r} is neither a database URL, such as "
            "sqlite:////srv/history.db, nor the id of an Airflow connection"
        ) from None
    if connection.conn_type != "postgres":
        raise ConfigurationError(
            f"[{SECTION}] database = {given!r}: connection {given!r} is of type "
            f"{connection.conn_type!r}; give one of type 'postgres', or a database URL"
        )
    url = URL.create(
        "postgresql",
        connection.login,
        connection.password,
        connection.host,
        connection.port,
        connection.schema,
        {name: str(value) for name, value in connection.extra_dejson.items()},
    )
    return url.render_as_string(hide_password=False)


def _artifacts(given: str) -> tuple[Path, StoreUrl | None]:
    """The local folder, or the URL of another place."""
    url = urlsplit(given)
    if url.scheme in ("", "file") or "://" not in given:
        return Path(unquote(url.path)).expanduser(), None
    return Path(), StoreUrl.parse("artifacts", given)
