"""A workspace: the run history and the artifact store, as the `[mltrain]` section names them."""

from __future__ import annotations

from functools import cached_property

from airflow_mltrain.artifacts import ArtifactStore
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.environments.curated import find_curated
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.runs.history import RunHistory, open_run_history
from airflow_mltrain.settings import Settings, read_settings
from airflow_mltrain.targets.base import ComputeTarget
from airflow_mltrain.targets.registry import connect


class Workspace:
    """Where runs are recorded and their artifacts kept; cheap to make, opened at first use."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def from_config(cls) -> Workspace:
        """The workspace of `[mltrain]` in airflow.cfg.

        With nothing configured it is embedded: SQLite and a folder below `$AIRFLOW_HOME/mltrain`.
        """
        return cls(read_settings())

    @cached_property
    def history(self) -> RunHistory:
        """The run history; its schema is made or brought up to date at first use."""
        return open_run_history(self.settings.database_url)

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The artifact store."""
        return ArtifactStore(self.settings.artifacts)

    def get_target(self, name: str) -> ComputeTarget:
        """The compute target of that name; raises TargetNotFoundError."""
        return connect(name, self.settings)

    def get_environment(self, name: str, version: int | None = None) -> Environment:
        """The registered or curated environment; the latest version unless one is named.

        `name:3` names a version too. Raises ConfigurationError listing what there is.
        """
        name, _, named_version = name.partition(":")
        if named_version:
            if not named_version.isdecimal():
                raise ConfigurationError(
                    f"environment {name}:{named_version}: a version is a whole number"
                )
            version = int(named_version)
        curated = find_curated(name)
        if curated is not None:
            return curated
        found = self.history.find_environment(name, version)
        if found is None:
            known = ", ".join(sorted(self.history.list_environments())) or "none"
            wanted = name if version is None else f"{name}:{version}"
            raise ConfigurationError(
                f"there is no environment {wanted!r}; registered ones: {known}"
            )
        number, content = found
        environment = Environment.model_validate(content)
        environment.version = str(number)
        return environment

    def register_environment(self, environment: Environment) -> Environment:
        """Keep an environment under its name; unchanged content gives the version it has."""
        if find_curated(environment.name) is not None:
            raise ConfigurationError(
                f"{environment.name!r} is a curated environment; clone it under another name"
            )
        content = environment.model_dump(mode="json", exclude={"version"})
        number = self.history.register_environment(environment.name, content)
        return self.get_environment(environment.name, number)
