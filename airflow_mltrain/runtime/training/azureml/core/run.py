"""As in Azure ML's SDK."""

from mltrain import Run, _OfflineRun

__all__ = ["Run", "_OfflineRun"]
