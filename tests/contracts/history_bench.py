"""What the parts of the run history's contract share: an empty history, things to put in it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from airflow_mltrain.runs.history import RunHistory, open_run_history
from airflow_mltrain.runs.metric_line import OWN_RUN, RunNews
from airflow_mltrain.runs.record import MetricRecord, RunRecord, SubmissionKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=timezone.utc)
KEY = SubmissionKey("retrain", "scheduled__2026-11-23", "submit", 3)
HOSTILE_TEXT = "quote ' \" % \\ \n :name \u202e \U0001f680"


def a_run(run_id: str | None = None, **facts: Any) -> RunRecord:
    """A run that was just submitted."""
    record = RunRecord(
        run_id=run_id or uuid4().hex,
        experiment="churn",
        target="local",
        snapshot_id="5f2a",
        config={"script": "train.py", "arguments": ["--rate", 0.1]},
        created_at=NOON,
    )
    return replace(record, **facts)


def a_metric(value: object, name: str = "loss", **facts: Any) -> MetricRecord:
    """A value that a script logged."""
    return MetricRecord(name=name, value=value, logged_at=NOON)._replace(**facts)


def add_metrics(
    history: RunHistory,
    run_id: str,
    points: Sequence[MetricRecord],
    *,
    position: int,
    next_position: int,
) -> bool:
    """Have a history take in values that a script logged of its own run, and nothing else."""
    told = {OWN_RUN: RunNews(points=list(points))}
    return history.take_in(run_id, told, position=position, next_position=next_position)


class HistoryContract:
    """Opens the history that a subclass places with the fixture `history_url`."""

    @pytest.fixture
    def history_url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def history(self, history_url: str) -> Iterator[RunHistory]:
        with closing(open_run_history(history_url)) as history:
            yield history
