"""As in Azure ML's SDK."""

from mltrain import Model

__all__ = ["Model"]
