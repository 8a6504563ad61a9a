"""As in Azure ML's SDK."""

from mltrain import Webservice

__all__ = ["Webservice"]
