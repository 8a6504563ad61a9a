"""What a connection says of an SSH host as a compute target, checked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from airflow_mltrain.config.model import ConfigModel
from airflow_mltrain.targets.config import Count, Gpus, Text, Variables


def _check_root(value: str) -> str:
    if not value.startswith(("/", "~/")) or "\0" in value or not value.strip("~/"):
        raise ValueError("give an absolute path, or one below the login's home: ~/...")
    return value


class SshTargetConfig(ConfigModel):
    """How jobs run on an SSH host; `null` is as if it were not there."""

    root: Annotated[str, Field(strict=True), AfterValidator(_check_root)] | None = None
    python: Text | None = None
    max_concurrent_runs: Count | None = None
    gpus: Gpus = None
    environment_variables: Variables = Field(default=None, repr=False)
    jump_host: Text | None = None
    proxy_command: Text | None = None

    @property
    def root_folder(self) -> str:
        """Where everything of a run lies, on the host."""
        return self.root or "~/.mltrain"


class SshFormConfig(SshTargetConfig):
    """The extra of a connection of our own type that points at one of type `ssh`."""

    kind: Literal["ssh"]
    connection: Text
