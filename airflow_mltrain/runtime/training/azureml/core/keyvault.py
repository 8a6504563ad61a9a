"""As in Azure ML's SDK."""

from mltrain import Keyvault

__all__ = ["Keyvault"]
