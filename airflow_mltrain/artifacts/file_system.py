"""From the URL of an artifact store to the fsspec file system that reaches it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_mltrain.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from airflow_mltrain.artifacts.store_secrets import StoreSecrets
    from airflow_mltrain.settings import StoreUrl

_SECRET_VARIABLES: Final = (
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_SAS_TOKEN"),
    "AZURE_STORAGE_CLIENT_SECRET",
)
_S3: Final = ("s3", "s3a")


@dataclass(frozen=True)
class FileSystem:
    """A file system of fsspec's, and where in it the store is."""

    fs: Any
    base: str

    def path(self, key: str) -> str:
        """Where an object lies."""
        return f"{self.base}/{key}" if key else self.base

    def __repr__(self) -> str:
        return f"FileSystem({self.base!r})"


def open_file_system(url: StoreUrl, secrets: StoreSecrets) -> FileSystem:
    """The file system, not shared with anybody; nothing is asked over the network yet.

    What it is reached with is added to the secrets, also where that fails.
    Raises ImportError where a package is missing, ConfigurationError where the connection is none,
    or nobody knows the scheme.
    """
    import fsspec  # noqa: PLC0415 - dear, and no local folder needs it

    listings = {"use_listings_cache": False} if url.scheme in _S3 else {}
    secrets.add(os.environ.get(name) for name in _SECRET_VARIABLES)
    secrets.add_options(fsspec.config.conf)
    if url.conn_id is None:
        _require_known(url)
        plain = f"{url.scheme}://{url.path}"
        fs, base = fsspec.core.url_to_fs(plain, skip_instance_cache=True, **listings)
    else:
        fs = _from_connection(url, url.conn_id, listings, secrets)
        base = fs._strip_protocol(f"{url.scheme}://{url.path}")  # noqa: SLF001 - fsspec's own way
    secrets.add_options(fs.storage_options)
    return FileSystem(fs, str(base).rstrip("/"))


def _require_known(url: StoreUrl) -> None:
    import fsspec  # noqa: PLC0415 - as above

    try:
        fsspec.get_filesystem_class(url.scheme)
    except ValueError:
        raise ConfigurationError(
            f"the artifact store {url}: no package that is installed has a file system for "
            f"{url.scheme}://; install {'adlfs' if url.is_azure else 'one that has'}, or name "
            "another place in [mltrain] artifacts"
        ) from None


def _from_connection(
    url: StoreUrl, conn_id: str, listings: dict[str, Any], secrets: StoreSecrets
) -> Any:
    """A file system with the connection's credentials."""
    import fsspec  # noqa: PLC0415 - as above
    from airflow.sdk import BaseHook  # noqa: PLC0415 - only where a connection is named
    from airflow.sdk.exceptions import AirflowNotFoundException  # noqa: PLC0415
    from airflow.sdk.io.fs import get_fs, has_fs  # noqa: PLC0415

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        account = "; an account is written as container@account.dfs.core.windows.net"
        hint = account if url.is_azure else ""
        raise ArtifactError(
            f"the artifact store {url} names the connection {conn_id!r}, which Airflow does not "
            f"have; make it, or leave it out of [mltrain] artifacts{hint}"
        ) from None
    extra = connection.extra_dejson
    options = dict(extra.get("storage_options") or {})
    secrets.add([connection.password])
    secrets.add_options(extra)
    secrets.add_options(options)
    if has_fs(url.scheme):  # a provider knows how its connections are meant
        return get_fs(url.scheme, conn_id, {**listings, **options} or None)
    if url.scheme in _S3:
        options = {**_s3_options(connection.login, connection.password, extra), **options}
    elif not options:
        raise ConfigurationError(
            f"the artifact store {url}: no provider of Airflow's knows how to make a file system "
            f"of connection {conn_id!r}; install the one for {url.scheme}, or give the arguments "
            "of fsspec's file system as storage_options in the connection's extra"
        )
    _require_known(url)
    return fsspec.filesystem(url.scheme, skip_instance_cache=True, **listings, **options)


def _s3_options(login: str | None, password: str | None, extra: dict[str, Any]) -> dict[str, Any]:
    """What s3fs is told, by the names that Airflow's Amazon provider uses in its connections."""
    client = {
        name: extra[name] for name in ("endpoint_url", "region_name", "verify") if name in extra
    }
    options = {
        "key": login or extra.get("aws_access_key_id"),
        "secret": password or extra.get("aws_secret_access_key"),
        "token": extra.get("aws_session_token"),
        "client_kwargs": client or None,
    }
    return {name: value for name, value in options.items() if value}
