"""Which connections Airflow knows, and of what type: never what they hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Final
from urllib.parse import urlsplit

_PREFIX: Final = "AIRFLOW_CONN_"
_SECONDS: Final = 60.0
_SQLITE: Final = "sqlite:///"


def list_in_variables() -> dict[str, str]:
    """Connection id -> type, of those in variables `AIRFLOW_CONN_...`; "" where it tells none."""
    return {
        name.removeprefix(_PREFIX).lower(): _type_of(value)
        for name, value in sorted(os.environ.items())
        if name.startswith(_PREFIX)
    }


def list_in_database() -> dict[str, str] | None:
    """Connection id -> type, as Airflow's own program lists them; None where it cannot.

    Takes some seconds.
    """
    if not _may_have_database():
        return None
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "airflow", "connections", "list", "--output", "json"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return {one["conn_id"]: one["conn_type"] for one in _read_rows(answer)}


def _type_of(value: str) -> str:
    try:
        content = json.loads(value)
    except ValueError:
        return urlsplit(value).scheme.replace("-", "_")
    return str(content.get("conn_type") or "") if isinstance(content, dict) else ""


def _may_have_database() -> bool:
    """Whether asking makes sense; for SQLite it would make an empty file."""
    from airflow.sdk import conf  # noqa: PLC0415 - dear

    url = str(conf.get("database", "sql_alchemy_conn", fallback=""))
    return bool(url) and (
        not url.startswith(_SQLITE) or os.path.exists(url.removeprefix(_SQLITE))  # noqa: PTH110
    )


def _read_rows(output: str) -> list[dict[str, Any]]:
    """The rows; Airflow may say other things before, and says so in words where there is none."""
    for line in output.splitlines():
        if line.startswith("[{"):
            return list(json.loads(line))
    return []
