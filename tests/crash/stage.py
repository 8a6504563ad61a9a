"""One part of a training run's life, played by the real code in a process of its own.

A task's process runs the operator, a triggerer-like one runs the trigger in an event loop. Both
are forked from a server that has everything loaded, as Airflow's supervisor forks its tasks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.triggers.base import TriggerEvent
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

import airflow_mltrain.following
import airflow_mltrain.targets.docker.target
import airflow_mltrain.targets.spark.target
import airflow_mltrain.targets.ssh  # noqa: F401 - loaded once, by the server
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator
from airflow_mltrain.triggers.training_run import TrainingRunTrigger
from tests.crash import sabotage
from tests.crash.gate import Gate, Roll, Step
from tests.fakes.task_context import FakeTaskInstance, context_of

PGDialect_psycopg.import_dbapi()  # type: ignore[no-untyped-call]  # once, by the server


@dataclass(frozen=True)
class Part:
    """What a process is to do: `submit`, `watch` or `resume`, as Airflow would have it."""

    role: str
    variables: Mapping[str, str]
    config: Mapping[str, Any]
    dag_run_id: str
    try_number: int
    max_tries: int
    is_deferrable: bool
    output: Path
    given: Mapping[str, Any] = field(default_factory=dict)  # the trigger's arguments, or its event
    awaited: Step | None = None  # where to stop and wait for a cue
    is_rehearsal: bool = False  # tell all steps
    sabotage: str | None = None


class Outcome(NamedTuple):
    """How a part ended: `done`, `deferred`, `event`, `failed`, `retry` or `stopped`."""

    kind: str
    value: Any = None


def play(part: Part, reports: Connection, cues: Connection) -> None:
    """Play a part; reports `Step`, then awaits a cue, and reports its `Outcome` and its steps."""
    os.environ.clear()
    os.environ.update(part.variables)
    _redirect(part.output)
    if part.sabotage is not None:
        sabotage.commit(part.sabotage)
    roll = Roll()

    def visit(step: Step) -> None:
        if part.is_rehearsal:
            roll(step)
        elif step == part.awaited:
            with suppress(OSError, EOFError):  # whoever waited for it has gone on
                reports.send(step)
                cues.recv()

    gate = Gate(visit) if part.awaited or part.is_rehearsal else None
    is_watch = part.role == "watch"
    outcome = asyncio.run(_watch(part, gate)) if is_watch else _work(part, gate)
    if gate is not None:
        gate.close()
    reports.send((outcome, roll.steps))


def _work(part: Part, gate: Gate | None) -> Outcome:
    operator = SubmitTrainingRunOperator(
        task_id="train",
        experiment=part.dag_run_id,
        config=part.config,
        wait_for_completion=True,
        deferrable=part.is_deferrable,
    )
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())  # as Airflow does
    ti = FakeTaskInstance(part.try_number, part.max_tries, run_id=part.dag_run_id)
    context = context_of(ti)
    if gate is not None:
        gate.open()
    try:
        if part.role == "submit":
            return Outcome("done", operator.execute(context))
        given = {"event": dict(part.given)}
        return Outcome("done", operator.resume_execution("execute_complete", given, context))
    except TaskDeferred as deferral:
        return Outcome("deferred", deferral.trigger.serialize()[1])
    except AirflowFailException as error:
        return Outcome("failed", str(error))
    except Exception as error:  # noqa: BLE001 - Airflow tries again, whatever it is
        traceback.print_exc()
        return Outcome("retry", f"{type(error).__name__}: {error}")


async def _watch(part: Part, gate: Gate | None) -> Outcome:
    trigger = TrainingRunTrigger(**part.given)

    async def fire() -> TriggerEvent:
        async for event in trigger.run():
            return event
        raise AssertionError("the trigger ended without an event")

    task = asyncio.create_task(fire())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if gate is not None:
        gate.open()
    try:
        return Outcome("event", (await task).payload)
    except asyncio.CancelledError:
        return Outcome("stopped")
    finally:
        await trigger.cleanup()


def _redirect(output: Path) -> None:
    with output.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, force=True)
