"""One observer of a compute target for all the triggers that wait on its runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple
from weakref import WeakKeyDictionary

from airflow_mltrain.silence import Backoff
from airflow_mltrain.targets.base import ComputeTarget, JobState, Seen
from airflow_mltrain.workspace import Workspace

_EXCHANGE_SECONDS = 0.5
_SPACING_SECONDS = 0.1  # many runs with news would be asked about all the time, and all others too
_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, TargetWatcher]] = (
    WeakKeyDictionary()
)


class Sighting(NamedTuple):
    """A run's state, None where its target does not know the run, and the target that said so."""

    target: ComputeTarget
    state: JobState | None


@dataclass(frozen=True, eq=False)  # found among thousands by what it is, not what it holds
class _Waiter:
    run_id: str
    seen: Seen
    takes_any: bool
    answer: asyncio.Future[Sighting]


class TargetWatcher:
    """Asks a target about all watched runs in one exchange, again while there are any.

    An exchange that failed failed for all of them, and the next attempt comes after a pause that
    grows to half a minute. The target is then looked up anew: its connection may have been edited.
    """

    def __init__(self, name: str, find_target: Callable[[], ComputeTarget]) -> None:
        self._find_target = find_target
        self._target: ComputeTarget | None = None
        self._waiters: dict[_Waiter, None] = {}  # in the order in which they came
        self._loop_task: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self.is_failing = False  # whether the last exchange failed
        # A thread of its own: an exchange takes its time, and must not hold up another target's.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"mltrain-watch-{name}")

    async def next_sighting(self, run_id: str, seen: Seen, *, takes_any: bool = False) -> Sighting:
        """The run as its target sees it, once that differs from `seen`; at once with `takes_any`.

        Raises what the exchange raised, TargetUnreachableError for one. Asking again is safe, and
        needs no pause.
        """
        answer = asyncio.get_running_loop().create_future()
        waiter = _Waiter(run_id, seen, takes_any, answer)
        self._waiters[waiter] = None
        if self._loop_task is None or self._loop_task.done():
            self._loop_task = asyncio.create_task(self._exchange_while_watched())
        try:
            return await waiter.answer
        finally:
            self._waiters.pop(waiter, None)

    async def _exchange_while_watched(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiters:
            # Two tasks may wait on one run from different positions: the second has its turn next.
            asked = {waiter.run_id: waiter for waiter in reversed(self._waiters)}
            seen = {run_id: waiter.seen for run_id, waiter in asked.items()}
            began = loop.time()
            try:
                target = self._target
                if target is None:
                    target = await asyncio.to_thread(self._find_target)
                states = await loop.run_in_executor(
                    self._thread, target.observe, seen, _EXCHANGE_SECONDS
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
                self._target = None
                self.is_failing = True
                for waiter in list(self._waiters):
                    self._settle(waiter, error)
                await asyncio.sleep(self._backoff.next_seconds())
                continue
            self._target = target
            self.is_failing = False
            self._backoff.reset()
            for run_id, waiter in asked.items():
                state = states.get(run_id)
                if state is None or waiter.takes_any or is_news(state, waiter.seen):
                    self._settle(waiter, Sighting(target, state))
            await asyncio.sleep(max(0.0, began + _SPACING_SECONDS - loop.time()))

    def _settle(self, waiter: _Waiter, result: Sighting | Exception) -> None:
        self._waiters.pop(waiter, None)
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


def watcher_of(workspace: Workspace, target_name: str) -> TargetWatcher:
    """The one watcher of a target in this event loop."""
    watchers = _watchers.setdefault(asyncio.get_running_loop(), {})
    if target_name not in watchers:
        find_target = partial(workspace.get_target, target_name)
        watchers[target_name] = TargetWatcher(target_name, find_target)
    return watchers[target_name]
