"""The tables of the run history, and how our values are stored in them."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

from airflow_mltrain.runs.record import RunRecord, SubmissionKey
from airflow_mltrain.runs.status import RunStatus

if TYPE_CHECKING:
    from sqlalchemy.engine import RowMapping

SCHEMA_VERSION = "0005"  # the newest revision in migrations/versions
VERSION_TABLE = "mltrain_schema_version"

_SUBMISSION = ("dag_id", "dag_run_id", "task_id", "map_index")


class PlainText(TypeDecorator[str]):
    """Any string; what no database stores (NUL, half a surrogate pair) is replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Text that both engines take."""
        del dialect
        if value is None:
            return None
        return plain_text(value)


def plain_text(value: str) -> str:
    """The text as any database stores it: NUL and half a surrogate pair are replaced."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


class JsonText(TypeDecorator[Any]):
    """JSON as text: unlike the databases' own types it keeps NaN, infinities and key order."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """The value as JSON; None is a value as well."""
        del dialect
        return json.dumps(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Any:
        """The value that was stored."""
        del dialect
        return None if value is None else json.loads(value)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant, stored and read in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The instant in UTC; ValueError where its zone is unknown."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the time {value} has no time zone; pass an aware datetime")
        return value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The instant, aware, in UTC."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:  # SQLite stores no zone
            return value.replace(tzinfo=timezone.utc)
        return value.astimezone(timezone.utc)


metadata = MetaData()

versions = Table(VERSION_TABLE, MetaData(), Column("version_num", Text, nullable=False))

runs = Table(
    "mltrain_run",
    metadata,
    Column("run_id", PlainText, primary_key=True),
    Column("experiment", PlainText, nullable=False),
    Column("target", PlainText, nullable=False),
    Column("snapshot_id", PlainText, nullable=False),
    Column("config", JsonText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("status", PlainText, nullable=False),
    Column("dag_id", PlainText),
    Column("dag_run_id", PlainText),
    Column("task_id", PlainText),
    Column("map_index", Integer),
    Column("generation", Integer, nullable=False),
    Column("occasion", PlainText),
    Column("is_started", Boolean, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("exit_code", Integer),
    Column("error", PlainText),
    Column("metrics_position", BigInteger, nullable=False),
    Column("environment_key", PlainText),
    Column("tags", JsonText, nullable=False),
    Column("properties", JsonText, nullable=False),
    Column("display_name", PlainText),
    Column("parent_run_id", PlainText),
    UniqueConstraint(*_SUBMISSION, "generation", name="mltrain_run_submission"),
    # Newest first among those submitted, or below one run, without reading the others; and which
    # of all have a status without reading any.
    Index("mltrain_run_experiment", "experiment", "parent_run_id", "created_at", "run_id"),
    Index("mltrain_run_parent", "parent_run_id", "created_at", "run_id", "status"),
)

metrics = Table(
    "mltrain_metric",
    metadata,
    Column("run_id", ForeignKey("mltrain_run.run_id", ondelete="CASCADE"), primary_key=True),
    Column("position", BigInteger, primary_key=True),  # of its batch in the job's metrics file
    Column("ordinal", Integer, primary_key=True),  # within its batch
    Column("name", PlainText, nullable=False),
    Column("value", JsonText, nullable=False),
    Column("step", JsonText, nullable=False),  # a script may count past any integer column
    Column("logged_at", UtcDateTime, nullable=False),
    Column("kind", Text),
    sqlite_with_rowid=False,
)

models = Table(
    "mltrain_model",
    metadata,
    Column("run_id", ForeignKey("mltrain_run.run_id", ondelete="CASCADE"), primary_key=True),
    Column("position", BigInteger, primary_key=True),  # as of a metric
    Column("ordinal", Integer, primary_key=True),
    Column("name", PlainText, nullable=False),
    Column("facts", JsonText, nullable=False),
    Column("registered_at", UtcDateTime, nullable=False),
    sqlite_with_rowid=False,
)

experiments = Table(
    "mltrain_experiment",
    metadata,
    Column("name", PlainText, primary_key=True),
    Column("archived_at", UtcDateTime),
    Column("tags", JsonText, nullable=False),
)

log_positions = Table(
    "mltrain_log_position",
    metadata,
    Column("run_id", ForeignKey("mltrain_run.run_id", ondelete="CASCADE"), primary_key=True),
    Column("reader", PlainText, primary_key=True),
    Column("position", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

environments = Table(
    "mltrain_environment",
    metadata,
    Column("name", PlainText, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("content", JsonText, nullable=False),
)

environment_labels = Table(
    "mltrain_environment_label",
    metadata,
    Column("name", PlainText, primary_key=True),
    Column("label", PlainText, primary_key=True),
    Column("version", Integer, nullable=False),
    ForeignKeyConstraint(
        ["name", "version"],
        ["mltrain_environment.name", "mltrain_environment.version"],
        ondelete="CASCADE",
    ),
)

resolved_environments = Table(
    "mltrain_resolved_environment",
    metadata,
    Column("key", PlainText, primary_key=True),
    Column("content", JsonText, nullable=False),
)

resolutions = Table(
    "mltrain_resolution",
    metadata,
    Column("recipe_id", PlainText, primary_key=True),
    Column("platform", PlainText, primary_key=True),
    Column(
        "key",
        ForeignKey("mltrain_resolved_environment.key", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("created_at", UtcDateTime, nullable=False),
)


def to_row(record: RunRecord) -> dict[str, Any]:
    """What the table of runs keeps of a record."""
    row = dict(vars(record))
    key = row.pop("submission")
    return {**row, **(key._asdict() if key else dict.fromkeys(_SUBMISSION))}


def to_record(row: RowMapping) -> RunRecord:
    """The record that a row of the table of runs keeps."""
    facts = dict(row)
    key = {name: facts.pop(name) for name in _SUBMISSION}
    submission = None if key["dag_id"] is None else SubmissionKey(**key)
    return RunRecord(**{**facts, "status": RunStatus(facts["status"]), "submission": submission})
