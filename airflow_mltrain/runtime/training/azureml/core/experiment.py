"""As in Azure ML's SDK."""

from mltrain import Experiment

__all__ = ["Experiment"]
