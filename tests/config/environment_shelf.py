"""A registry of environments in memory, as a workspace keeps them in its history."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.environment_reference import EnvironmentReference


class EnvironmentShelf:
    """Keeps environments, labels, wheels and build contexts for one test."""

    def __init__(self) -> None:
        self.versions: dict[str, list[Environment]] = {}
        self.labels: dict[tuple[str, str], int] = {}
        self.wheels: dict[str, bytes] = {}
        self.build_contexts: dict[str, tuple[Path, str]] = {}

    def get_environment(
        self, name: str, version: int | str | None = None, label: str | None = None
    ) -> Environment:
        reference = EnvironmentReference.parse(name, version, label)
        number = reference.version or len(self.versions[reference.name])
        if reference.label is not None:
            number = self.labels[reference.name, reference.label]
        return self.versions[reference.name][number - 1]

    def register_environment(self, environment: Environment) -> Environment:
        versions = self.versions.setdefault(environment.name, [])
        kept = environment.model_copy(deep=True)
        kept.version = str(len(versions) + 1)
        versions.append(kept)
        return kept

    def list_environments(self) -> dict[str, Environment]:
        return {name: versions[-1] for name, versions in self.versions.items()}

    def label_environment(self, name: str, version: int | str, labels: Sequence[str]) -> None:
        self.labels.update({(name, label): int(version) for label in labels})

    def add_wheel(self, path: Path) -> str:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.wheels[digest] = path.read_bytes()
        return digest

    def add_build_context(self, path: Path, dockerfile_path: str) -> str:
        snapshot_id = hashlib.sha256(bytes(path / dockerfile_path)).hexdigest()
        self.build_contexts[snapshot_id] = (path, dockerfile_path)
        return snapshot_id
