"""As in Azure ML's SDK."""

from mltrain import Dataset

__all__ = ["Dataset"]
