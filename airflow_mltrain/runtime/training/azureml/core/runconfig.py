"""As in Azure ML's SDK."""

from mltrain import DockerConfiguration, RunConfiguration

__all__ = ["DockerConfiguration", "RunConfiguration"]
