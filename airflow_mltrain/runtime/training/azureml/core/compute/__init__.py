"""As in Azure ML's SDK."""

from mltrain import ComputeTarget

__all__ = ["ComputeTarget"]
