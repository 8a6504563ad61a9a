"""Two Dags that wait the same time: for a training run, and for a clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mltrain import ScriptRunConfig
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator

_SLEEP = "import time; time.sleep({seconds}); print('script ended at', time.time(), flush=True)"


class ClockTrigger(BaseTrigger):
    """Fires at a time; the least a trigger can do."""

    def __init__(self, moment: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is untyped
        self.moment = moment

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The moment."""
        return ("waiting.ClockTrigger", {"moment": self.moment})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep and fire."""
        await asyncio.sleep(self.moment - time.time())
        yield TriggerEvent(self.moment)  # type: ignore[no-untyped-call]  # Airflow's is untyped


class ClockOperator(BaseOperator):
    """Defers until some seconds from now."""

    def __init__(self, seconds: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seconds = seconds

    def execute(self, context: Any) -> None:  # noqa: ARG002
        """Defer."""
        self.defer(
            trigger=ClockTrigger(time.time() + self.seconds), method_name="execute_complete"
        )

    def execute_complete(self, context: Any, event: float) -> None:  # noqa: ARG002
        """Say when the time had come."""
        self.log.info("script ended at %s", event)


def _run(dag_id: str, seconds: float) -> None:
    with DAG(dag_id, schedule=None):
        SubmitTrainingRunOperator(
            task_id="wait",
            experiment="waiting",
            config=ScriptRunConfig(
                Path(__file__).parent, command=["python", "-c", _SLEEP.format(seconds=seconds)]
            ),
            wait_for_completion=True,
        )


_run("run_deferred", 20)
_run("run_short", 2)
with DAG("clock", schedule=None):
    ClockOperator(task_id="wait", seconds=10)
