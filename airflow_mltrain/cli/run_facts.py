"""What is told of a run, to people and to programs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from airflow_mltrain.cli.table import render_duration
from airflow_mltrain.cli.terminal_text import clip, printable
from airflow_mltrain.runs.record import RunRecord

_TAG_COLUMNS: Final = 40
_HIDDEN: Final = "****"


def run_facts(run: RunRecord) -> dict[str, Any]:
    """The run as JSON data, without what was submitted."""
    return {
        "run_id": run.run_id,
        "experiment": run.experiment,
        "display_name": run.display_name,
        "parent_run_id": run.parent_run_id,
        "target": run.target,
        "status": run.status,
        "exit_code": run.exit_code,
        "error": run.error,
        "created_at": _instant(run.created_at),
        "started_at": _instant(run.started_at),
        "ended_at": _instant(run.ended_at),
        "snapshot_id": run.snapshot_id,
        "environment_key": run.environment_key,
        "task": None if run.submission is None else run.submission._asdict(),
        "tags": dict(run.tags),
        "properties": dict(run.properties),
    }


def shown_config(run: RunRecord) -> dict[str, Any]:
    """What was submitted; of environment variables only their names."""
    config = dict(run.config)
    run_config = _without_values(config.get("run_config"))
    if isinstance(run_config.get("environment"), Mapping):
        run_config["environment"] = _without_values(run_config["environment"])
    return {**config, "run_config": run_config}


def command_of(run: RunRecord) -> list[str]:
    """What was run: script or command, and its arguments."""
    command = run.config.get("command") or run.config.get("script") or []
    words = command if isinstance(command, list) else [command]
    return [str(word) for word in (*words, *(run.config.get("arguments") or []))]


def describe_command(run: RunRecord) -> str:
    """What was run, as one would type it."""
    if isinstance(run.config.get("command"), str):
        return str(run.config["command"])
    return shlex.join(command_of(run))


def describe_environment(run: RunRecord) -> str:
    """The environment's name, with its version where it has one; empty where there is none."""
    environment = (run.config.get("run_config") or {}).get("environment")
    if not isinstance(environment, Mapping):
        return str(environment or "")
    version = environment.get("version")
    return f"{environment.get('name')}:{version}" if version else str(environment.get("name"))


def describe_tags(tags: Mapping[str, str]) -> str:
    """As many of the tags as a column has room for."""
    words = (f"{name}={value}" if value else name for name, value in tags.items())
    return clip(printable(" ".join(words)), _TAG_COLUMNS)


def render_time_taken(run: RunRecord, now: datetime) -> str:
    """How long the script ran, or has been running."""
    if run.started_at is None:
        return "-"
    return render_duration(((run.ended_at or now) - run.started_at).total_seconds())


def _without_values(section: Any) -> dict[str, Any]:
    content = dict(section) if isinstance(section, Mapping) else {}
    variables = content.get("environment_variables")
    if isinstance(variables, Mapping):
        content["environment_variables"] = dict.fromkeys(variables, _HIDDEN)
    return content


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
