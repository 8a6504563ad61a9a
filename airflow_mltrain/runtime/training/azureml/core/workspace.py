"""As in Azure ML's SDK."""

from mltrain import Workspace

__all__ = ["Workspace"]
