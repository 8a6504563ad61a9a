"""One observer of a compute target for all the triggers that wait on its runs."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from weakref import WeakKeyDictionary

from airflow_mltrain.targets.base import ComputeTarget, JobState, Seen
from airflow_mltrain.workspace import Workspace

_EXCHANGE_SECONDS = 0.5
_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, TargetWatcher]] = (
    WeakKeyDictionary()
)


@dataclass(frozen=True)
class _Waiter:
    run_id: str
    seen: Seen
    answer: asyncio.Future[JobState | None]


class TargetWatcher:
    """Asks a target about all watched runs in one exchange, again while there are any."""

    def __init__(self, target: ComputeTarget) -> None:
        self.target = target
        self._waiters: list[_Waiter] = []
        self._loop_task: asyncio.Task[None] | None = None
        # A thread of its own: an exchange takes its time, and must not hold up another target's.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"mltrain-watch-{target.name}")

    async def next_state(self, run_id: str, seen: Seen) -> JobState | None:
        """The run's state once it differs from `seen`; None where its target does not know it.

        Raises what the exchange raised, TargetUnreachableError for one; asking again is safe.
        """
        waiter = _Waiter(run_id, seen, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        if self._loop_task is None or self._loop_task.done():
            self._loop_task = asyncio.create_task(self._exchange_while_watched())
        try:
            return await waiter.answer
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def _exchange_while_watched(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiters:
            # Two tasks may wait on one run from different positions: the second has its turn next.
            asked = {waiter.run_id: waiter for waiter in reversed(self._waiters)}
            seen = {run_id: waiter.seen for run_id, waiter in asked.items()}
            try:
                states = await loop.run_in_executor(
                    self._thread, self.target.observe, seen, _EXCHANGE_SECONDS
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
                for waiter in asked.values():
                    self._settle(waiter, error)
                continue
            for run_id, waiter in asked.items():
                state = states.get(run_id)
                if state is None or is_news(state, waiter.seen):
                    self._settle(waiter, state)

    def _settle(self, waiter: _Waiter, result: JobState | Exception | None) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if waiter.answer.done():
            return
        if isinstance(result, Exception):
            waiter.answer.set_exception(result)
        else:
            waiter.answer.set_result(result)


def is_news(state: JobState, seen: Seen) -> bool:
    """Whether a state says anything that was not seen."""
    is_ended = state.status.is_terminal
    return is_ended or state.status is not seen.status or bool(state.log or state.metrics)


@cache
def shared_workspace() -> Workspace:
    """The workspace of this triggerer: one pool of connections for all its triggers."""
    return Workspace.from_config()


def forget_watcher(target_name: str) -> None:
    """Have the target looked up anew: its connection may have been edited."""
    _watchers.get(asyncio.get_running_loop(), {}).pop(target_name, None)


async def watcher_of(workspace: Workspace, target_name: str) -> TargetWatcher:
    """The one watcher of a target in this event loop."""
    watchers = _watchers.setdefault(asyncio.get_running_loop(), {})
    if target_name not in watchers:
        target = await asyncio.to_thread(workspace.get_target, target_name)
        watchers.setdefault(target_name, TargetWatcher(target))
    return watchers[target_name]
