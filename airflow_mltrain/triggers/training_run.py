"""The trigger that waits for a training run while its task is deferred."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mltrain.cancel_intent import is_cancel_meant
from airflow_mltrain.errors import RunHistoryUnavailableError, TargetUnreachableError
from airflow_mltrain.task_log import LineReader, as_messages

if TYPE_CHECKING:
    from airflow_mltrain.workspace import Workspace

_PASSING = (TargetUnreachableError, RunHistoryUnavailableError)
_UNREACHABLE_SECONDS = 5.0
_LOG_BYTES_PER_SECOND = 250_000
_STATE_QUESTION_SECONDS = 60.0
_Result = TypeVar("_Result")
_cancel_threads = ThreadPoolExecutor(8, thread_name_prefix="mltrain-cancel")
_kept_tasks: set[asyncio.Task[None]] = set()


class TrainingRunTrigger(BaseTrigger):
    """Shows a run's log in the task log as it grows, and fires when the run has ended.

    Args:
        target: the compute target the run is on.
        run_id: the run.
        reader: under which name the run history keeps how much of the log was read.
        is_owner: whether the deferred task submitted the run, and so takes it along when a person
            gives up the task.
    """

    def __init__(self, target: str, run_id: str, reader: str, *, is_owner: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is untyped
        self.target = target
        self.run_id = run_id
        self.reader = reader
        self.is_owner = is_owner

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The address of the run: all there is to know, wherever this trigger wakes up."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "target": self.target,
                "run_id": self.run_id,
                "reader": self.reader,
                "is_owner": self.is_owner,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Follow the run to its end, through any break of the connection, then fire once."""
        began = time.monotonic()
        workspace = await asyncio.to_thread(_open_workspace)
        status = None
        while status is None:
            try:
                status = await self._follow(workspace, is_shown=True)
            except _PASSING as error:
                await self._try_again_later(error)
        too_early = workspace.settings.event_delay_seconds - (time.monotonic() - began)
        await asyncio.sleep(max(0.0, too_early))
        event = {"run_id": self.run_id, "status": status}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # Airflow's is untyped

    async def on_kill(self) -> None:
        """Cancel the run if a person gave up its task; not when the trigger merely moves."""
        # Airflow 3.3 cancels this method after a second, so the work is in a task of its own.
        task = asyncio.create_task(self._cancel_if_meant())
        _kept_tasks.add(task)
        task.add_done_callback(_kept_tasks.discard)
        await asyncio.shield(task)

    async def _follow(self, workspace: Workspace, *, is_shown: bool) -> str:
        from airflow_mltrain import progress  # noqa: PLC0415
        from airflow_mltrain.triggers.watcher import watcher_of  # noqa: PLC0415

        history = workspace.history
        record = await asyncio.to_thread(history.get, self.run_id)
        position = progress.BEHIND_ANY_LOG
        if is_shown:
            position = await asyncio.to_thread(history.log_position, self.run_id, self.reader)
        lines = LineReader(position)
        watcher = await watcher_of(workspace, self.target)
        seen = progress.seen_of(record, position)
        while not record.status.is_terminal:
            state = await watcher.next_state(self.run_id, seen)
            record = await asyncio.to_thread(
                progress.take_in, workspace, record, watcher.target, state
            )
            if state is None:
                seen = progress.seen_of(record, lines.read_position)
                await asyncio.sleep(1.0)
                continue
            if state.status.is_terminal:
                return str(state.status)  # the worker shows the rest, and faster
            await self._show(lines.feed(state.log))
            if state.log:
                await asyncio.to_thread(
                    history.set_log_position, self.run_id, self.reader, lines.position
                )
            before = seen
            seen = replace(progress.seen_of(record, lines.read_position), status=state.status)
            # A triggerer passes on about a megabyte of log a second, for all its triggers; half a
            # line is news that nobody can use yet.
            pause = 0.1 if seen == before else len(state.log) / _LOG_BYTES_PER_SECOND
            await asyncio.sleep(pause)
        return str(record.status)

    async def _show(self, lines: Iterable[str]) -> None:
        for message in as_messages(lines):
            self.log.info("%s", message)
            await asyncio.sleep(0)  # the other triggers have their turn

    async def _cancel_if_meant(self) -> None:
        state = await self._ask_task_state()
        if not is_cancel_meant(state, is_owner=self.is_owner):
            self.log.info("run %s goes on: its task is %s", self.run_id, state)
            return
        workspace = await asyncio.to_thread(_open_workspace)
        from airflow_mltrain import progress, submission  # noqa: PLC0415

        record = None
        while record is None:
            try:
                await _in_thread(submission.cancel, workspace, self.run_id)
                await self._follow(workspace, is_shown=False)
                record = await _in_thread(progress.refresh, workspace, self.run_id)
            except _PASSING as error:
                await self._try_again_later(error)
        self.log.info("run %s: %s", self.run_id, record.status)

    async def _try_again_later(self, error: Exception) -> None:
        from airflow_mltrain.triggers.watcher import forget_watcher  # noqa: PLC0415

        self.log.warning("run %s goes on unobserved for now: %s", self.run_id, error)
        forget_watcher(self.target)
        await asyncio.sleep(_UNREACHABLE_SECONDS)

    async def _ask_task_state(self) -> str | None:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415

        ti = self.task_instance
        if ti is None:
            return "deferred"
        question = partial(
            RuntimeTaskInstance.get_task_states,
            dag_id=ti.dag_id,
            task_ids=[ti.task_id],
            run_ids=[ti.run_id],
            map_index=ti.map_index,
        )
        # A question that a triggerer cannot answer would never return.
        states = await asyncio.wait_for(_in_thread(question), _STATE_QUESTION_SECONDS)
        return state_in(states, ti.run_id)


async def _in_thread(work: Callable[..., _Result], *arguments: Any) -> _Result:
    """Like `asyncio.to_thread`, in threads that only cancels use: they must not wait in line."""
    call = partial(copy_context().run, work, *arguments)
    return await asyncio.get_running_loop().run_in_executor(_cancel_threads, call)


def _open_workspace() -> Workspace:
    """Import and open what waiting needs, in a thread: a Dag that is parsed needs none of it."""
    from airflow_mltrain.triggers.watcher import shared_workspace  # noqa: PLC0415

    return shared_workspace()


def state_in(states: dict[str, Any], dag_run_id: str) -> str | None:
    """The one state in Airflow's answer about one task instance."""
    found = states.get(dag_run_id) or {}
    return next((None if state is None else str(state) for state in found.values()), None)
