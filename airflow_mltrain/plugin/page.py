"""The pages as HTML: everything in them is escaped, and they load and run nothing."""

from __future__ import annotations

import base64
import hashlib
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from airflow_mltrain.plugin.chart import arrange_charts
from airflow_mltrain.plugin.kept_run import LOG_BYTES, KeptRun
from airflow_mltrain.plugin.series import HEIGHT, WIDTH, arrange_series
from airflow_mltrain.runs.series import shorten
from airflow_mltrain.runs.spark_pages import find_spark_pages
from airflow_mltrain.runs.status import RunStatus

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import MetricRecord, ModelRecord, RunRecord, SubmissionKey


_TEMPLATES = Path(__file__).parent / "templates"
_RELOAD_SECONDS = 5
_RELOAD_PER_SECOND_OF_WORK = 20
_MOST_SERIES = 120
_MOST_CHILDREN = 200
_LONGEST_COMMAND = 20_000
_TONES = {
    RunStatus.COMPLETED: "good",
    RunStatus.FAILED: "bad",
    RunStatus.CANCELED: "off",
    RunStatus.CANCEL_REQUESTED: "off",
}


@dataclass(frozen=True)
class RunPage:
    """All that the page of a run shows, and where Airflow's own pages begin."""

    run: RunRecord
    metrics: Sequence[MetricRecord]
    kept: KeptRun
    airflow_path: str  # ends with a slash
    now: datetime
    work_seconds: float = 0.0  # what it took to look all this up
    submitted: RunRecord | None = None  # the run that a child is below, directly or not
    children: Sequence[RunRecord] = ()
    models: Sequence[ModelRecord] = ()

    @property
    def is_live(self) -> bool:
        """Whether the run may still change."""
        return not self.run.status.is_terminal

    @property
    def reload_seconds(self) -> int | None:
        """How soon to look again; later where looking is much work, never after the end."""
        if self.run.status.is_terminal:
            return None
        return max(_RELOAD_SECONDS, math.ceil(self.work_seconds * _RELOAD_PER_SECOND_OF_WORK))

    @property
    def tone(self) -> str:
        """How the status is coloured."""
        return _TONES.get(self.run.status, "live")

    @property
    def task_path(self) -> str:
        """The page of the task instance that submitted the run; empty where none did."""
        key = (self.submitted or self.run).submission
        return "" if key is None else self.airflow_path + _task_instance(key)

    @property
    def shown_children(self) -> Sequence[RunRecord]:
        """As many of them as a page has room for."""
        return self.children[:_MOST_CHILDREN]

    def has_file(self, name: str) -> bool:
        """Whether such a file was kept, of this run or of the one that a child is below."""
        return any(file.name == name for file in self.kept.files)

    @property
    def waited(self) -> str:
        """How long the script had to wait until it began."""
        begun = self.run.started_at or self.run.ended_at or self.now
        return format_duration((begun - self.run.created_at).total_seconds())

    @property
    def ran(self) -> str:
        """How long the script has been running, or ran; empty where it never did."""
        begun = self.run.started_at
        if begun is None:
            return ""
        return format_duration(((self.run.ended_at or self.now) - begun).total_seconds())

    @property
    def run_config(self) -> Mapping[str, Any]:
        """Where and in which environment, as it was submitted."""
        return _mapping(self.run.config.get("run_config"))

    @property
    def command(self) -> str:
        """What was run, as one would type it."""
        config = self.run.config
        command = config.get("command")
        if isinstance(command, str):
            return shorten(command, _LONGEST_COMMAND)
        script = config.get("script")
        words = command if isinstance(command, list) else [script] if script else []
        arguments = config.get("arguments")
        words = [*words, *(arguments if isinstance(arguments, list) else [])]
        return shorten(shlex.join(map(str, words)), _LONGEST_COMMAND)

    @property
    def environment(self) -> str:
        """The name of the environment, with its version where it has one."""
        environment = self.run_config.get("environment")
        content = _mapping(environment)
        name = content.get("name") or (environment if isinstance(environment, str) else "")
        version = content.get("version")
        return f"{name}:{version}" if version else str(name)

    @property
    def spark_pages(self) -> str:
        """Where the pages of the run's Spark application are; empty where there are none."""
        return find_spark_pages(self.run)

    @property
    def variable_names(self) -> list[str]:
        """Which environment variables were set; what they are set to is nobody's to read."""
        sources = (self.run_config, _mapping(self.run_config.get("environment")))
        variables = [_mapping(source.get("environment_variables")) for source in sources]
        return sorted({str(name) for mapping in variables for name in mapping})


def render_run(page: RunPage) -> bytes:
    """The page of one run; it reloads itself until the run has ended."""
    series = arrange_series(page.metrics)
    return _render(
        "run.html",
        page=page,
        run=page.run,
        kept=page.kept,
        series=series[:_MOST_SERIES],
        hidden_series=len(series) - _MOST_SERIES,
        charts=arrange_charts(page.metrics),
        files_of=page.submitted or page.run,
    )


def render_message(title: str, text: str, *, airflow_path: str, login_path: str = "") -> bytes:
    """A page that says one thing, and the way back to Airflow or to its login."""
    return _render(
        "message.html", title=title, text=text, airflow_path=airflow_path, login_path=login_path
    )


@cache
def security_headers() -> dict[str, str]:
    """What keeps a page from doing anything but being read, should something hostile get in."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    policy = (
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "img-src data: 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def format_duration(seconds: float) -> str:
    """A span of time in the two units that matter; a clock that went back gives 0 s."""
    seconds = max(0.0, seconds)
    if seconds < 10:  # noqa: PLR2004 - below that a tenth can be told apart
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((index for index, (count, _) in enumerate(units) if count), len(units) - 1)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2])


def format_size(size_bytes: int) -> str:
    """A number of bytes in the unit that keeps it short."""
    if size_bytes < 1024:  # noqa: PLR2004
        return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"
    size, units = size_bytes / 1024, ["TB", "GB", "MB", "KB"]
    while size >= 1024 and len(units) > 1:  # noqa: PLR2004
        size /= 1024
        units.pop()
    return f"{size:.1f} {units[-1]}"


def _render(template: str, **values: object) -> bytes:
    text = _templates().get_template(template).render(values)
    return text.encode("utf-8", "replace")  # half a surrogate pair can be logged, not sent


@cache
def _style() -> str:
    return (_TEMPLATES / "style.css").read_text(encoding="utf-8")


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        style=Markup(_style()),  # noqa: S704 - our own file
        chart_width=WIDTH,
        chart_height=HEIGHT,
        log_size=format_size(LOG_BYTES),
    )
    environment.filters.update(
        moment=_moment,
        size=format_size,
        points=_points,
        file_path=_file_path,
        run_path=_run_path,
    )
    return environment


def _moment(instant: datetime) -> str:
    return instant.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _points(line: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in line)


def _file_path(name: str, run: RunRecord) -> str:
    """Relative to the page of any run."""
    return f"{_run_path(run.run_id)}/files/{quote(name)}"


def _run_path(run_id: str) -> str:
    """The page of a run, relative to that of any other."""
    return f"./{quote(run_id, safe='')}"


def _task_instance(key: SubmissionKey) -> str:
    dag_id, dag_run_id, task_id = (
        quote(part, safe="") for part in (key.dag_id, key.dag_run_id, key.task_id)
    )
    mapped = f"/mapped/{key.map_index}" if key.map_index >= 0 else ""
    return f"dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}{mapped}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
