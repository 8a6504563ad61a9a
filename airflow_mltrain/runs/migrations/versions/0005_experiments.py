"""What is kept of an experiment beside its runs: its tags, and when it was archived."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "mltrain_experiment",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("archived_at", sa.DateTime(timezone=True)),
        sa.Column("tags", sa.Text, nullable=False),
    )
