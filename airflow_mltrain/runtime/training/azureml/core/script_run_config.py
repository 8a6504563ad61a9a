"""As in Azure ML's SDK."""

from mltrain import ScriptRunConfig

__all__ = ["ScriptRunConfig"]
