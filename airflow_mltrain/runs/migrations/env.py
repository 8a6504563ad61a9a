"""What Alembic runs: the revisions, on the connection that `upgrade` was given."""

from __future__ import annotations

from alembic import context

from airflow_mltrain.runs.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,  # the database may be shared with others that use Alembic
)
context.run_migrations()
