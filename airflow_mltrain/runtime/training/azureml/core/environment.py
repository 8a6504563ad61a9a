"""As in Azure ML's SDK."""

from mltrain import Environment

__all__ = ["Environment"]
