"""Airflow as a program in a terminal uses it: silent, and with the connections it keeps."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, Final, NoReturn

# Airflow's own programs say so too: without it, connections in Airflow's database do not count.
_CONTEXT: Final = "_AIRFLOW_PROCESS_CONTEXT"


class _Nowhere(io.TextIOBase):
    def write(self, text: str, /) -> int:
        return len(text)


@contextmanager
def airflow_session() -> Iterator[None]:
    """Load Airflow, which takes about a second, and keep it from writing anything meanwhile."""
    nowhere = _Nowhere()
    with redirect_stdout(nowhere), redirect_stderr(nowhere):
        # Its handlers, and the loggers it uses while it starts, keep the stream they find here.
        import structlog  # noqa: PLC0415
        from airflow.sdk import BaseHook, conf  # noqa: F401, PLC0415
    logging, context = structlog.get_config(), os.environ.get(_CONTEXT)
    structlog.configure(processors=[_drop])
    os.environ[_CONTEXT] = "server"
    try:
        yield
    finally:
        structlog.configure(**logging)
        os.environ.pop(_CONTEXT)
        if context is not None:
            os.environ[_CONTEXT] = context


def _drop(*_: Any) -> NoReturn:
    import structlog  # noqa: PLC0415

    raise structlog.DropEvent
