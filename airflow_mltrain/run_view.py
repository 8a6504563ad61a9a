"""What is shown of a run where somebody looks at it: in a notebook as HTML, elsewhere as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from html import escape
from typing import TYPE_CHECKING, Final

from airflow_mltrain.runs.series import (
    collect_series,
    describe_value,
    finite_numbers,
    shorten,
)

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import RunRecord
    from airflow_mltrain.workspace import Workspace

_NEWEST_POINTS: Final = 2000
_MOST_ROWS: Final = 20
_LONGEST_ERROR: Final = 2000
_WIDTH: Final = 120
_HEIGHT: Final = 24
_COLORS: Final = {"Completed": "#1a7f37", "Failed": "#cf222e", "Canceled": "#9a6700"}
_CELL: Final = '<td style="text-align:left;vertical-align:top;white-space:pre-wrap">'


@dataclass(frozen=True)
class MetricView:
    """One metric: its last value, and the newest of the numbers before it."""

    name: str
    last: str
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True)
class RunView:
    """What is shown of a run: facts, each with its name, and the newest metrics."""

    run_id: str
    status: str
    facts: tuple[tuple[str, str], ...]
    metrics: tuple[MetricView, ...] = ()
    more_metrics: int = 0


def view_run(workspace: Workspace, record: RunRecord, now: datetime | None = None) -> RunView:
    """What the run history knows of a run, in few words; its target is not asked."""
    points = workspace.history.read_newest_metrics(record.run_id, _NEWEST_POINTS)
    series = collect_series(points)
    metrics = [
        MetricView(shorten(name, 80), describe_value(values[-1]), tuple(finite_numbers(values)))
        for name, values in series.items()
        if values
    ]
    facts = {
        "Experiment": record.experiment,
        "Compute target": record.target,
        "Started": _instant(record.started_at),
        "Duration": _duration(record, now or datetime.now(timezone.utc)),
        "Exit code": "" if record.exit_code is None else str(record.exit_code),
        "Error": shorten(record.error or "", _LONGEST_ERROR),
        "Tags": _tags(record),
        "Children": str(len(workspace.history.list_children(record.run_id)) or ""),
    }
    return RunView(
        record.run_id,
        str(record.status),
        tuple((name, text) for name, text in facts.items() if text),
        tuple(metrics[:_MOST_ROWS]),
        max(0, len(metrics) - _MOST_ROWS),
    )


def render_html(view: RunView, remark: str = "") -> str:
    """The view for a notebook; everything that a script may have said is escaped."""
    rows = [("Run", escape(view.run_id)), ("Status", _status_html(view.status))]
    rows += [(name, escape(text)) for name, text in view.facts]
    if remark:
        rows.append(("Now", escape(remark)))
    if view.metrics:
        shown = _table(
            (escape(one.name), escape(one.last), _line(one.numbers)) for one in view.metrics
        )
        more = f"and {view.more_metrics} more" if view.more_metrics else ""
        rows.append(("Metrics", shown + more))
    return _table((f"<b>{name}</b>", content) for name, content in rows)


def render_text(view: RunView, remark: str = "") -> str:
    """The view in a line for a terminal, or instead of it what is amiss."""
    metrics = " ".join(f"{one.name}={one.last}" for one in view.metrics)
    facts = dict(view.facts)
    parts = [facts.get("Duration", ""), metrics, facts.get("Error", "").partition("\n")[0]]
    told = "  ".join([view.status, *(part for part in parts if part)])
    line = f"{view.run_id}  {remark or told}"
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in line)


def render_runs(experiment: str, records: Sequence[RunRecord]) -> str:
    """The newest runs of an experiment for a notebook."""
    head = tuple(f"<b>{name}</b>" for name in ("Run", "Status", "Compute target", "Made", "Tags"))
    rows = [
        (
            escape(record.run_id),
            _status_html(str(record.status)),
            escape(record.target),
            _instant(record.created_at),
            escape(_tags(record)),
        )
        for record in records[:_MOST_ROWS]
    ]
    more = "the newest runs" if len(records) > _MOST_ROWS else "runs"
    return f"<b>{escape(experiment)}</b>: {more}{_table([head, *rows])}"


def _table(rows: Iterable[Sequence[str]]) -> str:
    cells = (("".join(f"{_CELL}{cell}</td>" for cell in row)) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table>{body}</table>"


def _status_html(status: str) -> str:
    color = _COLORS.get(status, "#0969da")
    return f'<span style="color:{color}">{escape(status)}</span>'


def _line(numbers: Sequence[float]) -> str:
    if len(numbers) < 2:  # noqa: PLR2004 - a line has two ends
        return ""
    step = max(1, len(numbers) // _WIDTH)
    drawn = numbers[::-step][::-1]  # the last one always
    low, high = min(drawn), max(drawn)
    span = high / 2 - low / 2  # halved: the whole span may be more than a float holds
    points = " ".join(
        f"{index * _WIDTH / (len(drawn) - 1):.1f},"
        f"{_HEIGHT - 2 - ((one / 2 - low / 2) / span if span else 0.5) * (_HEIGHT - 4):.1f}"
        for index, one in enumerate(drawn)
    )
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}">'
        f'<polyline points="{points}" fill="none" stroke="#0969da"/></svg>'
    )


def _tags(record: RunRecord) -> str:
    shown = [shorten(f"{name}={value}") for name, value in list(record.tags.items())[:_MOST_ROWS]]
    return ", ".join(shown)


def _instant(instant: datetime | None) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC" if instant else ""


def _duration(record: RunRecord, now: datetime) -> str:
    if record.started_at is None:
        return ""
    seconds = ((record.ended_at or now) - record.started_at).total_seconds()
    return str(timedelta(seconds=max(0, int(seconds))))
