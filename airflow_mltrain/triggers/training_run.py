"""The trigger that waits for a training run while its task is deferred."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mltrain.cancel_intent import is_cancel_meant
from airflow_mltrain.errors import TargetUnreachableError, UnreachableTimeoutError
from airflow_mltrain.silence import UNANSWERED, Silence
from airflow_mltrain.task_log import LineReader, as_messages
from airflow_mltrain.triggers.entrance import entrance

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import RunRecord
    from airflow_mltrain.targets.base import Seen
    from airflow_mltrain.triggers.watcher import Sighting, TargetWatcher
    from airflow_mltrain.workspace import Workspace

_LOG_BYTES_PER_SECOND = 250_000
_STATE_QUESTION_SECONDS = 60.0
_Result = TypeVar("_Result")
_cancel_threads = ThreadPoolExecutor(8, thread_name_prefix="mltrain-cancel")
_kept_tasks: set[asyncio.Task[None]] = set()


class TrainingRunTrigger(BaseTrigger):
    """Shows a run's log in the task log as it grows, and fires when the run has ended.

    It also fires, with `unreachable` saying why, when neither the run's target nor the run history
    has answered for long. A triggerer that takes the trigger over counts anew.

    Args:
        target: the compute target the run is on.
        run_id: the run.
        reader: under which name the run history keeps how much of the log was read.
        is_owner: whether the deferred task submitted the run, and so takes it along when a person
            gives up the task.
        unreachable_timeout_seconds: how long to go on without an answer; 0 for ever, and None for
            what the settings of the triggerer say.
    """

    def __init__(
        self,
        target: str,
        run_id: str,
        reader: str,
        *,
        is_owner: bool,
        unreachable_timeout_seconds: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's is untyped
        self.target = target
        self.run_id = run_id
        self.reader = reader
        self.is_owner = is_owner
        self.unreachable_timeout_seconds = unreachable_timeout_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The address of the run: all there is to know, wherever this trigger wakes up."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "target": self.target,
                "run_id": self.run_id,
                "reader": self.reader,
                "is_owner": self.is_owner,
                "unreachable_timeout_seconds": self.unreachable_timeout_seconds,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Follow the run to its end, through any break of the connection, then fire once."""
        began = time.monotonic()
        workspace = await entrance().open_workspace()
        limit_seconds = workspace.settings.unreachable_limit(self.unreachable_timeout_seconds)
        silence = Silence(self.run_id, limit_seconds, self.log.warning)
        event: dict[str, Any] = {"run_id": self.run_id, "status": None}
        try:
            while event["status"] is None:
                try:
                    event["status"] = await self._follow(workspace, self.run_id, silence)
                except UNANSWERED as error:
                    await asyncio.sleep(silence.note(error, self.target))
        except UnreachableTimeoutError as error:
            event["unreachable"] = str(error)
        too_early = workspace.settings.event_delay_seconds - (time.monotonic() - began)
        await asyncio.sleep(max(0.0, too_early))
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # Airflow's is untyped

    async def on_kill(self) -> None:
        """Cancel the run if a person gave up its task; not when the trigger merely moves."""
        # Airflow 3.3 cancels this method after a second, so the work is in a task of its own.
        task = asyncio.create_task(self._cancel_if_meant())
        _kept_tasks.add(task)
        task.add_done_callback(_kept_tasks.discard)
        await asyncio.shield(task)

    async def _follow(
        self, workspace: Workspace, run_id: str, silence: Silence, *, is_shown: bool = True
    ) -> str:
        from airflow_mltrain import progress  # noqa: PLC0415
        from airflow_mltrain.triggers.watcher import watcher_of  # noqa: PLC0415

        history = workspace.history

        def ask() -> tuple[RunRecord, int]:
            position = progress.BEHIND_ANY_LOG
            if is_shown:
                position = history.log_position(run_id, self.reader)
            return history.get(run_id), position

        record, position = await entrance().ask(ask)
        lines = LineReader(position)
        watcher = watcher_of(workspace, self.target)
        seen = progress.seen_of(record, position)
        while not record.status.is_terminal:
            target, state = await self._see(watcher, run_id, seen, silence)
            record = await asyncio.to_thread(progress.take_in, workspace, record, target, state)
            silence.end()
            if state is None:
                seen = progress.seen_of(record, lines.read_position)
                await asyncio.sleep(1.0)
                continue
            if state.status.is_terminal:
                return str(state.status)  # the worker shows the rest, and faster
            await self._show(lines.feed(state.log))
            if state.log:
                await asyncio.to_thread(
                    history.set_log_position, run_id, self.reader, lines.position
                )
            before = seen
            seen = progress.seen_of(record, lines.read_position)._replace(status=state.status)
            # A triggerer passes on about a megabyte of log a second, for all its triggers; half a
            # line is news that nobody can use yet.
            pause = 0.1 if seen == before else len(state.log) / _LOG_BYTES_PER_SECOND
            await asyncio.sleep(pause)
        return str(record.status)

    async def _see(
        self, watcher: TargetWatcher, run_id: str, seen: Seen, silence: Silence
    ) -> Sighting:
        """What is new of the run; after a silence, whatever its target answers first."""
        while True:
            try:
                return await watcher.next_sighting(run_id, seen, takes_any=silence.is_on)
            except TargetUnreachableError as error:
                silence.note(error, self.target)  # the pause is the watcher's, and shared

    async def _show(self, lines: Iterable[str]) -> None:
        for message in as_messages(lines):
            self.log.info("%s", message)
            await asyncio.sleep(0)  # the other triggers have their turn

    async def _cancel_if_meant(self) -> None:
        state = await self._ask_task_state()
        if not is_cancel_meant(state, is_owner=self.is_owner):
            self.log.info("run %s goes on: its task is %s", self.run_id, state)
            return
        workspace = await entrance().open_workspace()
        from airflow_mltrain import progress, submission  # noqa: PLC0415
        from airflow_mltrain.targets.base import Seen  # noqa: PLC0415
        from airflow_mltrain.triggers.watcher import watcher_of  # noqa: PLC0415

        watcher = watcher_of(workspace, self.target)
        silence = Silence(self.run_id, None, self.log.warning)
        record = None
        while record is None:
            try:
                if watcher.is_failing:  # hundreds of cancels need not each find that out
                    await self._see(watcher, self.run_id, Seen(), silence)
                # Of a preempted run it is the one in which that goes on.
                last = await _in_thread(submission.cancel, workspace, self.run_id)
                await self._follow(workspace, last.run_id, silence, is_shown=False)
                record = await _in_thread(progress.refresh, workspace, last.run_id)
            except UNANSWERED as error:
                await asyncio.sleep(silence.note(error, self.target))
        self.log.info("run %s: %s", record.run_id, record.status)

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


def state_in(states: dict[str, Any], dag_run_id: str) -> str | None:
    """The one state in Airflow's answer about one task instance."""
    found = states.get(dag_run_id) or {}
    return next((None if state is None else str(state) for state in found.values()), None)
