"""Resolutions in the run history: what recipes came down to, and what was built of them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Insert, insert, select
from sqlalchemy.exc import IntegrityError

from airflow_mltrain.runs.schema import resolutions, resolved_environments

if TYPE_CHECKING:
    from collections.abc import Mapping


def keep(connection: Connection, resolved: Mapping[str, Any]) -> None:
    """Keep a resolved environment, and that its recipe means it on its platform.

    What the history knows already stays as it is: the first who resolved a recipe decides.
    """
    content = {name: fact for name, fact in resolved.items() if name != "recipe_id"}
    key = resolved["key"]
    _insert_once(connection, insert(resolved_environments).values(key=key, content=content))
    _insert_once(
        connection,
        insert(resolutions).values(
            recipe_id=resolved["recipe_id"],
            platform=resolved["platform"],
            key=key,
            created_at=datetime.now(timezone.utc),
        ),
    )


def find_locks(connection: Connection, recipe_id: str) -> dict[str, dict[str, list[str]]]:
    """What a recipe was resolved to, by platform."""
    statement = (
        select(resolutions.c.platform, resolved_environments.c.content)
        .join(resolved_environments)
        .where(resolutions.c.recipe_id == recipe_id)
    )
    return {
        row[0]: {"packages": row[1]["packages"], "conda": row[1]["conda"]}
        for row in connection.execute(statement)
    }


def find(connection: Connection, key: str) -> dict[str, Any] | None:
    """What was built under a key, or None where it is not known."""
    content = resolved_environments.c.content
    row = connection.execute(select(content).where(resolved_environments.c.key == key)).first()
    return None if row is None else row[0]


def _insert_once(connection: Connection, statement: Insert) -> None:
    try:
        with connection.begin_nested():
            connection.execute(statement)
    except IntegrityError:
        return  # it was there, or another caller was faster
