"""Registered environments in the run history: their versions, and the labels that name one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from airflow_mltrain.runs.schema import environment_labels, environments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mltrain.runs.database import Database


class RegisteredEnvironments:
    """Environments by name and version; each call is one transaction, as of the run history."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(self, name: str, content: Mapping[str, Any]) -> int:
        """The version of an environment with this content: a new one unless the latest has it."""
        with self._database.writing() as connection:
            return _register(connection, name, content)

    def find(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> tuple[int, dict[str, Any]] | None:
        """An environment's version and content; its latest where neither is asked for."""
        with self._database.reading() as connection:
            return _find(connection, name, version, label)

    def label(self, name: str, version: int, label: str) -> bool:
        """Let a label mean this version, and no other; False where there is no such version."""
        with self._database.writing() as connection:
            return _put_label(connection, name, version, label)

    def list_latest(self) -> dict[str, int]:
        """The latest version of every environment, by name."""
        name = environments.c.name
        statement = select(name, func.max(environments.c.version)).group_by(name).order_by(name)
        with self._database.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(statement)}

    def read_latest(self) -> dict[str, tuple[int, dict[str, Any]]]:
        """The latest version of every environment with its content, by name."""
        name, version = environments.c.name, environments.c.version
        latest = select(name, func.max(version).label("version")).group_by(name).subquery()
        statement = (
            select(name, version, environments.c.content)
            .join(latest, (name == latest.c.name) & (version == latest.c.version))
            .order_by(name)
        )
        with self._database.reading() as connection:
            return {row[0]: (row[1], row[2]) for row in connection.execute(statement)}

    def read_contents(self) -> list[dict[str, Any]]:
        """The content of every version of every environment."""
        with self._database.reading() as connection:
            return list(connection.scalars(select(environments.c.content)))

    def list_versions(self, name: str) -> dict[int, list[str]]:
        """Every version of an environment, the oldest first, with its labels."""
        version, label = environments.c.version, environment_labels.c.label
        statement = (
            select(version, label)
            .outerjoin(environment_labels)
            .where(environments.c.name == name)
            .order_by(version, label)
        )
        labels: dict[int, list[str]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(statement):
                labels.setdefault(row[0], []).extend([row[1]] if row[1] is not None else [])
        return labels


def _register(connection: Connection, name: str, content: Mapping[str, Any]) -> int:
    while True:
        latest = _find(connection, name)
        if latest is not None and _canonical(latest[1]) == _canonical(content):
            return latest[0]
        version = latest[0] + 1 if latest else 1
        row = {"name": name, "version": version, "content": dict(content)}
        try:
            with connection.begin_nested():
                connection.execute(insert(environments).values(row))
        except IntegrityError:
            continue  # another caller took this version
        return version


def _find(
    connection: Connection,
    name: str,
    version: int | None = None,
    label: str | None = None,
) -> tuple[int, dict[str, Any]] | None:
    statement = select(environments.c.version, environments.c.content)
    statement = statement.where(environments.c.name == name)
    if version is not None:
        statement = statement.where(environments.c.version == version)
    if label is not None:
        statement = statement.join(environment_labels).where(environment_labels.c.label == label)
    row = connection.execute(statement.order_by(environments.c.version.desc()).limit(1)).first()
    return None if row is None else (row[0], row[1])


def _put_label(connection: Connection, name: str, version: int, label: str) -> bool:
    if _find(connection, name, version) is None:
        return False
    row = {"name": name, "label": label, "version": version}
    try:
        with connection.begin_nested():
            connection.execute(insert(environment_labels).values(row))
    except IntegrityError:  # it means some version so far
        columns = environment_labels.c
        move = update(environment_labels).where(columns.name == name, columns.label == label)
        connection.execute(move.values(version=version))
    return True


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(dict(content), sort_keys=True)
