"""What Airflow tells a task of itself, as far as an operator of ours asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from airflow.sdk import Context

_START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass
class FakeTaskInstance:
    """One attempt of a task; it keeps the XComs it was given, and its fate in Airflow."""

    try_number: int = 1
    max_tries: int = 3
    dag_id: str = "retrain"
    run_id: str = "manual"
    task_id: str = "train"
    map_index: int = -1
    start_date: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    state: str = "running"
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def get_task_states(self, **_asked: Any) -> dict[str, Any]:
        return {self.run_id: {self.task_id: self.state}}


@dataclass
class FakeDagRun:
    """The Dag run that the attempt belongs to."""

    start_date: datetime = _START


def context_of(ti: FakeTaskInstance) -> Context:
    """The context of an attempt, for `execute` and `execute_complete`."""
    return cast("Context", {"ti": ti, "dag_run": FakeDagRun()})
