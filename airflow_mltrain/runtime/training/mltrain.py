"""What a training script imports: `mltrain.Run.get_context().log("accuracy", 0.93)`.

It works in a run on any compute target, and offline, where values are printed instead of kept.
"""
# ruff: noqa: ARG002, FBT001, FBT002  # Azure ML's signatures, and values of every kind

import json
import os
import time
import uuid
from typing import Any, Dict, Optional, Sequence

__all__ = ["Run"]

_METRICS_VARIABLE = "MLTRAIN_METRICS"
_RUN_ID_VARIABLE = "MLTRAIN_RUN_ID"


class Run:
    """The run that the calling script is; `get_context` gives the one there is."""

    _context: Optional["Run"] = None

    def __init__(self, run_id: str, metrics_path: Optional[str]) -> None:
        self._id = run_id
        self._metrics_path = metrics_path
        self._descriptor: Optional[int] = None
        self._is_line_open = False

    @classmethod
    def get_context(cls, allow_offline: bool = True) -> "Run":
        """The run of this process; the same object every time.

        Outside of a run it prints what is logged, or raises RuntimeError without `allow_offline`.
        """
        if cls._context is None:
            path, run_id = os.environ.get(_METRICS_VARIABLE), os.environ.get(_RUN_ID_VARIABLE)
            if path is None or run_id is None:
                if not allow_offline:
                    raise RuntimeError("this script was not submitted as a run")
                cls._context = cls("OfflineRun_{}".format(uuid.uuid4()), None)
            else:
                cls._context = cls(run_id, path)
        return cls._context

    @property
    def id(self) -> str:
        """The run id; starts with `OfflineRun_` outside of a run."""
        return self._id

    def log(
        self, name: str, value: Any, description: str = "", step: Optional[int] = None
    ) -> None:
        """Log a number or a text; one name logged again becomes a series."""
        self._write({"type": "metric", "name": name, "value": _plain(value), "step": step})

    def log_list(self, name: str, value: Sequence[Any], description: str = "") -> None:
        """Log a list of values as one."""
        self._write({"type": "metric", "name": name, "value": _plain(list(value))})

    def log_row(self, name: str, description: str = "", **columns: Any) -> None:
        """Log one row of a table; rows of one name belong together."""
        self._write({"type": "metric", "name": name, "value": _plain(columns)})

    def log_table(self, name: str, value: Dict[str, Sequence[Any]], description: str = "") -> None:
        """Log a table, a dictionary of equally long columns; unequal ones raise ValueError."""
        columns = {column: list(values) for column, values in value.items()}
        if len({len(values) for values in columns.values()}) > 1:
            raise ValueError("the columns of table {!r} differ in length".format(name))
        self._write({"type": "metric", "name": name, "value": _plain(columns)})

    def tag(self, key: str, value: Any = None) -> None:
        """Set a tag of the run; the last value of a key stays."""
        self._write({"type": "tag", "name": key, "value": None if value is None else str(value)})

    def flush(self) -> None:
        """Do nothing: every call above has written when it returns."""

    def _write(self, message: Dict[str, Any]) -> None:
        name = message["name"]
        if not isinstance(name, str) or not name:
            raise ValueError("a name must be a text that is not empty, not {!r}".format(name))
        if self._metrics_path is None:
            print("{} (offline): {} = {}".format(message["type"], name, message["value"]))
            return
        message["time"] = time.time()
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._metrics_path, flags, 0o600)
        # One write a line: lines of threads and forked processes never mix.
        line = json.dumps(message).encode() + b"\n"
        if self._is_line_open:
            line = b"\n" + line
        self._is_line_open = True
        self._is_line_open = os.write(self._descriptor, line) < len(line)


def _plain(value: Any) -> Any:
    """As JSON data; numpy's scalars and arrays say what they are through `tolist`."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    raise TypeError(
        "cannot log {}: give a number, a text, a list or a dictionary".format(type(value).__name__)
    )
