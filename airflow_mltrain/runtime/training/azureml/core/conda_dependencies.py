"""As in Azure ML's SDK."""

from mltrain import CondaDependencies

__all__ = ["CondaDependencies"]
