"""The hook from an environment's name to the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from airflow_mltrain.config.environment import Environment


class EnvironmentHook(BaseHook):
    """Gives Dag authors the environments of the workspace: curated and registered ones."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def get_environment(self, name: str, version: int | None = None) -> Environment:
        """The environment `name`, or `name:3`; raises ConfigurationError listing what there is."""
        from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        return Workspace.from_config().get_environment(name, version)

    def register(self, environment: Environment) -> Environment:
        """Keep an environment under its name; unchanged content gives the version it has."""
        from airflow_mltrain.workspace import Workspace  # noqa: PLC0415

        return Workspace.from_config().register_environment(environment)
