"""Where the triggers of an event loop come in: a thousand of them may begin at one moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from airflow_mltrain.workspace import Workspace

_PLACES: Final = 64  # so that the threads never wait for the loop
_Result = TypeVar("_Result")
_entrances: WeakKeyDictionary[asyncio.AbstractEventLoop, Entrance] = WeakKeyDictionary()


class Entrance:
    """Opens the workspace once for all who come, and lets only so many of them ask at a time.

    To hand a thousand questions to threads in one turn of the loop would keep it from all else.
    """

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_PLACES)
        self._opening: asyncio.Task[Workspace] | None = None

    async def open_workspace(self) -> Workspace:
        """The workspace of this process; one that could not be opened is tried anew."""
        opening = self._opening
        if opening is None or (opening.done() and opening.exception() is not None):
            opening = self._opening = asyncio.create_task(asyncio.to_thread(_open_workspace))
        return await asyncio.shield(opening)  # who gives up does not give up for the others

    async def ask(self, question: Callable[..., _Result], *arguments: Any) -> _Result:
        """What a question answers that is asked in a thread, in turn with the others'."""
        async with self._places:
            return await asyncio.to_thread(question, *arguments)


def entrance() -> Entrance:
    """The one entrance of this event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _entrances:
        _entrances[loop] = Entrance()
    return _entrances[loop]


def _open_workspace() -> Workspace:
    """Import and open what waiting needs, in a thread: a Dag that is parsed needs none of it."""
    from airflow_mltrain import progress  # noqa: F401, PLC0415
    from airflow_mltrain.garbage_collection import freeze_heap  # noqa: PLC0415
    from airflow_mltrain.triggers.watcher import shared_workspace  # noqa: PLC0415

    freeze_heap()
    return shared_workspace()
