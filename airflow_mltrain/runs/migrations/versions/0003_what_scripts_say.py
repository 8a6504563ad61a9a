"""Children of runs, what a metric was logged as, and registered models."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("mltrain_run", sa.Column("display_name", sa.Text))
    op.add_column("mltrain_run", sa.Column("parent_run_id", sa.Text))
    op.create_index("mltrain_run_parent", "mltrain_run", ["parent_run_id"])
    op.add_column("mltrain_metric", sa.Column("kind", sa.Text))
    op.create_table(
        "mltrain_model",
        sa.Column(
            "run_id",
            sa.Text,
            sa.ForeignKey("mltrain_run.run_id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("position", sa.BigInteger, primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sqlite_with_rowid=False,
    )
