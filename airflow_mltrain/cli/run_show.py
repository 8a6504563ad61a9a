"""`mltrain show`: all that is known of a run."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from airflow_mltrain.cli.quick_workspace import look_at, open_workspace
from airflow_mltrain.cli.run_facts import (
    describe_command,
    describe_environment,
    render_time_taken,
    run_facts,
    shown_config,
)
from airflow_mltrain.cli.sparkline import render_sparkline
from airflow_mltrain.cli.table import render_table, render_time
from airflow_mltrain.cli.terminal_text import clip, printable, printable_lines
from airflow_mltrain.errors import ArtifactError
from airflow_mltrain.run import Run
from airflow_mltrain.runs.record import MetricValue, ModelRecord, RunRecord
from airflow_mltrain.runs.series import (
    arrange_metrics,
    collect_series,
    describe_value,
    finite_numbers,
    strict_json,
)
from airflow_mltrain.workspace import Workspace

_INDENT: Final = 13
_MOST_ROWS: Final = 100
_NAME_COLUMNS: Final = 40
_VALUE_COLUMNS: Final = 24
_HIDDEN_PROPERTIES: Final = ("mltrain.place", "mltrain.git_diff", "mlflow.source.git.")


@dataclass(frozen=True)
class _Known:
    run: RunRecord
    metrics: Sequence[MetricValue]
    models: Sequence[ModelRecord]
    children: Sequence[RunRecord]
    files: Sequence[str]


def show_run(arguments: Namespace) -> int:
    """Print what is known of a run; one that has not ended is asked for at its target."""
    workspace = open_workspace()
    run = look_at(workspace, arguments.run_id)
    history = workspace.history
    known = _Known(
        run=run,
        metrics=history.get_metric_values(run.run_id),
        models=history.get_models(run.run_id),
        children=history.list_children(run.run_id),
        files=_list_files(workspace, run),
    )
    if arguments.json:
        print(json.dumps(strict_json(_as_json(known)), indent=2))
    else:
        print("\n\n".join(_parts(known)))
    return 0


def _list_files(workspace: Workspace, run: RunRecord) -> Sequence[str]:
    if not run.status.is_terminal:
        return ()
    try:
        return Run.get(workspace, run.run_id).get_file_names()
    except ArtifactError as error:  # the history knows the rest
        words = f"mltrain: {run.run_id} is shown without its files: {error}"
        print(printable_lines(words), file=sys.stderr)
        return ()


def _as_json(known: _Known) -> dict[str, Any]:
    return {
        **run_facts(known.run),
        "config": shown_config(known.run),
        "metrics": arrange_metrics(known.metrics),
        "models": [{**model.facts, "name": model.name} for model in known.models],
        "children": [run_facts(child) for child in known.children],
        "files": list(known.files),
    }


def _parts(known: _Known) -> Iterator[str]:
    yield "\n".join(
        f"{printable(title):<{_INDENT}}{printable(text)}" for title, text in _facts(known) if text
    )
    if series := collect_series(known.metrics):
        rows = [_metric_row(name, values) for name, values in series.items()]
        yield _table(("METRIC", "POINTS", "LAST", "LOWEST", "HIGHEST", "COURSE"), rows)
    if known.models:
        models = [(model.name, str(model.facts.get("path", ""))) for model in known.models]
        yield _table(("MODEL", "PATH"), models)
    if known.children:
        yield _table(("CHILD", "NAME", "STATUS"), [_child_row(child) for child in known.children])


def _facts(known: _Known) -> Iterator[tuple[str, str]]:
    run, now = known.run, datetime.now(timezone.utc)
    yield "run", run.run_id
    yield "name", run.display_name or ""
    yield "experiment", run.experiment
    yield "parent", run.parent_run_id or ""
    yield "status", _describe_status(run)
    yield "why", run.error or ""
    yield "target", run.target
    yield "submitted", f"{render_time(run.created_at)} UTC"
    yield "ran for", render_time_taken(run, now)
    yield "command", describe_command(run)
    yield "environment", describe_environment(run)
    yield "source", f"{run.config.get('source_directory', '')} as snapshot {run.snapshot_id}"
    if (task := run.submission) is not None:
        mapped = f" [{task.map_index}]" if task.map_index >= 0 else ""
        yield "task", f"{task.dag_id} / {task.dag_run_id} / {task.task_id}{mapped}"
    for title, facts in (("tag", run.tags), ("property", run.properties)):
        for name, value in facts.items():
            if not name.startswith(_HIDDEN_PROPERTIES):
                yield title, f"{name} = {value}"
    if known.files:
        yield "files", f"{len(known.files)}, such as {', '.join(known.files[:3])}"


def _describe_status(run: RunRecord) -> str:
    if run.exit_code is None:
        return run.status
    return f"{run.status}, exit code {run.exit_code}"


def _metric_row(name: str, values: Sequence[Any]) -> tuple[str, ...]:
    numbers = finite_numbers(values)
    course = render_sparkline(numbers)
    bounds: tuple[Any, ...] = (min(numbers), max(numbers)) if course else ("", "")
    told = (values[-1] if values else "none", *bounds)
    return (
        clip(printable(name), _NAME_COLUMNS),
        str(len(values)),
        *(clip(printable(describe_value(one)), _VALUE_COLUMNS) for one in told),
        course,
    )


def _child_row(child: RunRecord) -> tuple[str, ...]:
    return (child.run_id, child.display_name or "", child.status)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = render_table(headings, rows[:_MOST_ROWS])
    more = len(rows) - _MOST_ROWS
    return table if more <= 0 else f"{table}\nand {more} more; --json has them all"
