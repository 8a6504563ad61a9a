"""Indexes by which the newest of very many runs are listed."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for name in ("mltrain_run_created_at", "mltrain_run_experiment", "mltrain_run_parent"):
        op.drop_index(name, "mltrain_run")
    newest = ["parent_run_id", "created_at", "run_id"]
    op.create_index("mltrain_run_experiment", "mltrain_run", ["experiment", *newest])
    op.create_index("mltrain_run_parent", "mltrain_run", [*newest, "status"])
