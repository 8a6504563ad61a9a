"""The hook from an environment's name to the environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from airflow_mltrain.config.environment import Environment
    from airflow_mltrain.workspace import Workspace


class EnvironmentHook(BaseHook):
    """Gives Dag authors the environments of the workspace: curated and registered ones."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def get_environment(
        self, name: str, version: int | str | None = None, label: str | None = None
    ) -> Environment:
        """The environment `name`, `name:3` or `name@label`; of a name alone the newest version.

        Raises ConfigurationError saying what there is.
        """
        return _workspace().get_environment(name, version, label)

    def register(self, environment: Environment) -> Environment:
        """Keep an environment under its name; unchanged content gives the version it has."""
        return _workspace().register_environment(environment)

    def label(self, name: str, version: int | str, labels: Sequence[str] | str) -> None:
        """Let each label mean this version from now on; ConfigurationError without it."""
        _workspace().label_environment(name, version, labels)

    def list_environments(self) -> dict[str, Environment]:
        """Every registered environment in its newest version, and the curated ones, by name."""
        return _workspace().list_environments()


def _workspace() -> Workspace:
    from airflow_mltrain.workspace import Workspace  # noqa: PLC0415 - dear to import

    return Workspace.from_config()
