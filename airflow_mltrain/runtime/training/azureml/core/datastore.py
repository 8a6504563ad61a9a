"""As in Azure ML's SDK."""

from mltrain import Datastore

__all__ = ["Datastore"]
