"""The lines of a job's metrics file: what its scripts said, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, NamedTuple

from airflow_mltrain.runs.record import METRIC_KINDS, MetricRecord, ModelRecord
from airflow_mltrain.runs.status import RunStatus

OWN_RUN = ""  # the key of what is said of the job's run itself, and of none of its children

_LONGEST_LINE_BYTES = 1024 * 1024
_MOST_LEVELS = 100  # of lists and dictionaries in one another: whoever reads them calls itself
_LONGEST_TEXT = 10_000  # of what is shown of a run, beside its metrics
_OWN_PROPERTIES = "mltrain."  # no script sets those that the product goes by
_ENDS = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELED)
_EPOCH = datetime.fromtimestamp(0, timezone.utc)


@dataclass
class RunNews:
    """What lines say of one run, in the order in which they say it."""

    points: list[MetricRecord] = field(default_factory=list)
    tags: dict[str, str | None] = field(default_factory=dict)  # None: removed
    properties: dict[str, str] = field(default_factory=dict)  # the first value of each
    facts: dict[str, str] = field(default_factory=dict)  # properties that the job agent notes anew
    models: list[ModelRecord] = field(default_factory=list)
    display_name: str | None = None
    parent_run_id: str | None = None  # a child that begins here
    config: Mapping[str, Any] | None = None  # of a child that is a process
    begun_at: datetime = _EPOCH
    is_cancel_asked: bool = False
    end: RunStatus | None = None  # of a child
    error: str = ""
    ended_at: datetime = _EPOCH

    @property
    def is_more_than_points(self) -> bool:
        """Whether there is anything beside metrics."""
        told = (self.tags, self.properties, self.facts, self.models, self.display_name)
        ends = (self.parent_run_id, self.end)
        return any(told) or self.is_cancel_asked or ends != (None, None)


class MetricLines(NamedTuple):
    """What some bytes of a metrics file say; `length` of them are whole lines."""

    runs: Mapping[str, RunNews]  # by run id; OWN_RUN for the job's own
    length: int

    @property
    def own(self) -> RunNews:
        """What is said of the job's own run."""
        return self.runs[OWN_RUN]


def parse_metric_lines(data: bytes, *, is_complete: bool) -> MetricLines:
    """Read whole lines; with `is_complete` the last one needs no newline.

    A line that is not ours to read is passed over: a script may write anything to its own files,
    and that must not cost it its other metrics.
    """
    length = len(data) if is_complete else data.rfind(b"\n") + 1
    if not length and len(data) >= _LONGEST_LINE_BYTES:
        length = len(data)
    runs = {OWN_RUN: RunNews()}
    own_points = runs[OWN_RUN].points
    for message in _read_all(data[:length]):
        if not isinstance(message, dict):
            continue
        what, name = message.get("type"), message.get("name")
        if not isinstance(what, str) or not isinstance(name, str) or "value" not in message:
            continue
        run_id = message.get("run")
        if what == "metric" and run_id is None:
            own_points.append(_point(name, message))
            continue
        if not isinstance(run_id, (str, type(None))):
            continue
        news = runs.setdefault(run_id or OWN_RUN, RunNews())
        if what == "metric":
            news.points.append(_point(name, message))
        elif what in _READERS:
            _READERS[what](news, name, message)
    return MetricLines(runs, length)


def _read_all(data: bytes) -> list[Any]:
    """The lines as JSON; all at once, which is much faster, unless one of them is none."""
    lines = [line for line in data.split(b"\n") if line]
    if any(line.count(b"[") + line.count(b"{") > _MOST_LEVELS for line in lines):
        return [_read(line) for line in lines]
    try:
        found: list[Any] = json.loads(b"[%b]" % b",".join(lines))
    except (ValueError, RecursionError):
        found = []
    return found if len(found) == len(lines) else [_read(line) for line in lines]


def _read(line: bytes) -> Any:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return None if _is_too_deep(found) else found


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MOST_LEVELS):
        below: list[Any] = []
        for one in level:
            if isinstance(one, (list, dict)):
                below.extend(one.values() if isinstance(one, dict) else one)
        if not below:
            return False
        level = below
    return any(isinstance(one, (list, dict)) for one in level)


def _point(name: str, message: Mapping[str, Any]) -> MetricRecord:
    step, kind = message.get("step"), message.get("kind")
    return MetricRecord(
        name=name,
        value=message["value"],
        logged_at=_time_of(message),
        step=step if isinstance(step, int) else None,
        kind=kind if isinstance(kind, str) and kind in METRIC_KINDS else None,
    )


def _time_of(message: Mapping[str, Any]) -> datetime:
    try:
        return datetime.fromtimestamp(message.get("time", 0), timezone.utc)
    except (TypeError, ValueError, OverflowError, OSError):
        return _EPOCH


def _take_tag(news: RunNews, name: str, message: Mapping[str, Any]) -> None:
    news.tags[_short(name)] = _text(message["value"])


def _take_untag(news: RunNews, name: str, message: Mapping[str, Any]) -> None:
    del message
    news.tags[_short(name)] = None


def _take_property(news: RunNews, name: str, message: Mapping[str, Any]) -> None:
    if not name.startswith(_OWN_PROPERTIES):
        news.properties.setdefault(_short(name), _text(message["value"]))


def _take_fact(news: RunNews, name: str, message: Mapping[str, Any]) -> None:
    if not name.startswith(_OWN_PROPERTIES):
        news.facts[_short(name)] = _text(message["value"])


def _take_display_name(news: RunNews, name: str, message: Mapping[str, Any]) -> None:
    del message
    news.display_name = _short(name)


def _take_model(news: RunNews, name: str, message: Mapping[str, Any]) -> None:
    facts = message["value"]
    if isinstance(facts, dict) and isinstance(facts.get("path"), str):
        news.models.append(ModelRecord(_short(name), facts, _time_of(message)))


def _take_child(news: RunNews, name: str, message: Mapping[str, Any]) -> None:
    facts = message["value"]
    if isinstance(facts, dict) and isinstance(facts.get("parent"), str):
        news.parent_run_id = facts["parent"]
        config = facts.get("config")
        news.config = _described(config) if isinstance(config, dict) else None
        news.display_name, news.begun_at = _short(name), _time_of(message)


def _described(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a child runs, as far as it is told in a form that a submitted run has it in."""
    return {
        name: config[name]
        for name, is_proper in _TOLD_OF_CHILD.items()
        if name in config and is_proper(config[name])
    }


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _are_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, (str, int, float)) for one in value)


_TOLD_OF_CHILD: Mapping[str, Callable[[object], bool]] = {
    "script": _is_text_or_none,
    "command": lambda value: _is_text_or_none(value) or _are_words(value),
    "arguments": _are_words,
    "source_directory": _is_text_or_none,
}


def _take_status(news: RunNews, name: str, message: Mapping[str, Any]) -> None:
    if name == RunStatus.CANCEL_REQUESTED:
        news.is_cancel_asked = True
    elif news.end is None and name in _ENDS:
        news.end, news.ended_at = RunStatus(name), _time_of(message)
        news.error = _text(message["value"])


_READERS = {
    "tag": _take_tag,
    "untag": _take_untag,
    "property": _take_property,
    "fact": _take_fact,
    "display_name": _take_display_name,
    "model": _take_model,
    "child": _take_child,
    "status": _take_status,
}


def _text(value: object) -> str:
    return _short(str(value)) if value else ""


def _short(text: str) -> str:
    return text[:_LONGEST_TEXT]
