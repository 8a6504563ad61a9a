"""What a training script imports: `mltrain.Run.get_context().log("accuracy", 0.93)`.

It works in a run on any compute target, and offline. The names beside `Run` are those that scripts
written for Azure ML import; they are loaded when they are first used.
"""

from typing import Any

from .run import Run, _OfflineRun

__all__ = ["Run", "_OfflineRun"]


def __getattr__(name: str) -> Any:
    if name == "ScriptRunConfig":
        from .script_run_config import ScriptRunConfig  # noqa: PLC0415  # few scripts need it

        return ScriptRunConfig
    if name == "Model":
        from .model import Model  # noqa: PLC0415  # few scripts need it

        return Model
    from .absent import find_absent  # noqa: PLC0415  # only scripts written for Azure ML do

    absent = find_absent(name)
    if absent is None:
        raise AttributeError("module {!r} has no attribute {!r}".format(__name__, name))
    return absent
