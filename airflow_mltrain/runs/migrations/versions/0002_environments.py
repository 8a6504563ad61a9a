"""Labels of environments, what recipes were resolved to, and the environment of a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("mltrain_run", sa.Column("environment_key", sa.Text))
    op.create_table(
        "mltrain_environment_label",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("label", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(
            ["name", "version"],
            ["mltrain_environment.name", "mltrain_environment.version"],
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "mltrain_resolved_environment",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.create_table(
        "mltrain_resolution",
        sa.Column("recipe_id", sa.Text, primary_key=True),
        sa.Column("platform", sa.Text, primary_key=True),
        sa.Column(
            "key",
            sa.Text,
            sa.ForeignKey("mltrain_resolved_environment.key", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
