"""Runs, their metrics and log positions, and environments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_runs()
    op.create_table(
        "mltrain_metric",
        _run_id(),
        sa.Column("position", sa.BigInteger, primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("logged_at", sa.DateTime(timezone=True), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "mltrain_log_position",
        _run_id(),
        sa.Column("reader", sa.Text, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "mltrain_environment",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("content", sa.Text, nullable=False),
    )


def _create_runs() -> None:
    op.create_table(
        "mltrain_run",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("experiment", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("snapshot_id", sa.Text, nullable=False),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("dag_id", sa.Text),
        sa.Column("dag_run_id", sa.Text),
        sa.Column("task_id", sa.Text),
        sa.Column("map_index", sa.Integer),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("occasion", sa.Text),
        sa.Column("is_started", sa.Boolean, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("exit_code", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Column("metrics_position", sa.BigInteger, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("properties", sa.Text, nullable=False),
        sa.UniqueConstraint(
            *("dag_id", "dag_run_id", "task_id", "map_index", "generation"),
            name="mltrain_run_submission",
        ),
    )
    op.create_index("mltrain_run_experiment", "mltrain_run", ["experiment", "created_at"])
    op.create_index("mltrain_run_created_at", "mltrain_run", ["created_at"])


def _run_id() -> sa.Column[str]:
    return sa.Column(
        "run_id",
        sa.Text,
        sa.ForeignKey("mltrain_run.run_id", ondelete="CASCADE"),
        primary_key=True,
    )
