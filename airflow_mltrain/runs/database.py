"""The database behind the run history: connections, transactions, and the tables' version."""

from __future__ import annotations

import fcntl
import os
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    NullPool,
    create_engine,
    event,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import (
    TimeoutError as PoolTimeoutError,
)

from airflow_mltrain.errors import (
    ConfigurationError,
    RunHistoryError,
    RunHistoryUnavailableError,
    SchemaVersionError,
)
from airflow_mltrain.runs.schema import SCHEMA_VERSION, VERSION_TABLE, versions

if TYPE_CHECKING:
    from collections.abc import Iterator

_POSTGRESQL_CONNECTION = {
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 30,  # seconds; a silent network is noticed, not waited for
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
    "application_name": "airflow-mltrain",
    "prepare_threshold": None,  # a connection pooler in between may not keep them
}
_SQLITE_BUSY_SECONDS = 30
_UPGRADE_LOCK = 0x6D6C747261696E  # "mltrain"; any number that no other program locks


class Database:
    """One SQLite file or PostgreSQL database, its tables made and upgraded at first use.

    Safe to use from any thread, and from a forked process as well. Every error that reaches the
    caller is a RunHistoryError; RunHistoryUnavailableError means that the same call may succeed
    later, on the same object. Only a missing psycopg is a ConfigurationError.
    """

    def __init__(self, url: str) -> None:
        self._url = _engine_url(url)
        self._engines: dict[int, Engine] = {}  # by process: a fork leaves its parent's alone
        self._is_current = False
        weakref.finalize(self, _disconnect, self._engines)

    def close(self) -> None:
        """Let go of this process's connections; the next call opens new ones."""
        _disconnect(self._engines)

    @property
    def address(self) -> str:
        """The URL for a person: no password, no options."""
        return self._url.set(query={}).render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that changes nothing; on SQLite it waits for nobody."""
        with self._current(), self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, kept whole or not at all; on SQLite the only one that writes."""
        with self._current(), self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _current(self) -> Iterator[None]:
        with self._errors_explained():
            if not self._is_current:
                if self._path is not None:
                    self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                if self._version() != SCHEMA_VERSION:
                    self._upgrade()
                self._is_current = True
            yield

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            self._is_current = False  # what answers next may be another database
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            if _is_unavailable(error):
                raise RunHistoryUnavailableError(
                    f"the run history {self.address} does not answer: {reason}. "
                    "Runs go on; try again when the database is back",
                ) from error
            raise RunHistoryError(
                f"the run history {self.address} cannot do this: {reason}",
            ) from error

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with (
            self._engine.connect().execution_options(begin=begin) as connection,
            connection.begin(),
        ):
            yield connection

    @property
    def _engine(self) -> Engine:
        process = os.getpid()
        engine = self._engines.get(process)
        if engine is None:
            engine = self._engines.setdefault(process, _create_engine(self._url))
        return engine

    @property
    def _path(self) -> Path | None:
        is_sqlite = self._url.get_backend_name() == "sqlite"
        return Path(str(self._url.database)) if is_sqlite else None

    def _version(self) -> str | None:
        try:
            with self._transaction("BEGIN") as connection:
                return connection.scalar(select(versions.c.version_num))
        except DBAPIError as error:
            if self._path is None and _is_unavailable(error):
                raise
            return None  # most likely there are no tables yet; the upgrade looks closer

    def _upgrade(self) -> None:
        from airflow_mltrain.runs import migrations  # noqa: PLC0415 - Alembic, seldom needed

        with self._alone(), self._transaction("BEGIN IMMEDIATE") as connection:
            if self._path is None:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
            version = None
            if inspect(connection).has_table(VERSION_TABLE):
                version = connection.scalar(select(versions.c.version_num))
            if version is not None and not migrations.is_known(version):
                raise SchemaVersionError(
                    f"the run history {self.address} has schema version {version}; this "
                    f"airflow-mltrain knows versions up to {SCHEMA_VERSION}: upgrade the package",
                )
            migrations.upgrade(connection)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._path is None:
            yield
            return
        with Path(f"{self._path}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # In place of BEGIN, for it works outside a transaction only; SQLite would refuse some
            # of several processes that switch at once, whatever the timeout.
            with self._transaction("PRAGMA journal_mode = WAL"):
                pass
            yield


def _engine_url(url: str) -> URL:
    try:
        parsed = make_url(url)
        engine = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise ConfigurationError(
            "the URL of the run history cannot be read; it looks like "
            "sqlite:////path/to/history.db or postgresql://user:password@host/database",
        ) from None  # the cause may quote the password
    if engine in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if engine != "sqlite":
        raise ConfigurationError(
            f"the run history is kept in SQLite or PostgreSQL, not in {engine}",
        )
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigurationError(
            "the run history is kept in a file; name it, as in sqlite:////path/to/history.db",
        )
    return parsed.set(drivername="sqlite", database=str(Path(parsed.database).absolute()))


def _create_engine(url: URL) -> Engine:
    # Values may be a user's own; they stay out of logs and messages.
    options: dict[str, Any] = {"hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        engine = create_engine(
            url,
            poolclass=NullPool,
            connect_args={"timeout": _SQLITE_BUSY_SECONDS},
            **options,
        )
        event.listen(engine, "connect", _take_over_transactions)
        event.listen(engine, "begin", _begin)
        return engine
    defaults = {k: v for k, v in _POSTGRESQL_CONNECTION.items() if k not in url.query}
    try:
        return create_engine(
            url,
            connect_args=defaults,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            pool_size=2,
            max_overflow=4,
            **options,
        )
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "a run history in PostgreSQL needs psycopg: pip install 'airflow-mltrain[postgres]'",
        ) from error


def _take_over_transactions(connection: Any, _: object) -> None:
    connection.isolation_level = None  # sqlite3 would begin late, where an upgrade can deadlock
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options()["begin"])


def _is_unavailable(error: Exception) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, (OperationalError, InterfaceError, PoolTimeoutError, OSError))


def _disconnect(engines: dict[int, Engine]) -> None:
    engine = engines.pop(os.getpid(), None)
    if engine is not None:
        engine.dispose()
