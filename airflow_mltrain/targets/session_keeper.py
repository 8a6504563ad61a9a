"""One session per machine and process, kept from one question to the next."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

from airflow_mltrain.targets.agent_session import AgentSession

OpenSession = Callable[[], AgentSession]


class SessionKeeper:
    """Opens a session when one is needed, and keeps it; for any number of threads."""

    def __init__(self, open_session: OpenSession) -> None:
        self._open_session = open_session
        self._lock = threading.Lock()
        self._opening: Future[AgentSession] | None = None
        self._disowned: Future[AgentSession] | None = None

    def begin(self) -> None:
        """Open a session in the background, unless there is one, or one is being opened."""
        with self._lock:
            if self._is_open_or_opening() and not self._has_failed():
                return
            opening: Future[AgentSession] = Future()
            self._opening = opening
        threading.Thread(
            target=self._open, args=(opening,), name="mltrain-connect", daemon=True
        ).start()

    def session(self) -> AgentSession:
        """The session; raises what opening it raised, and opens it anew the next time."""
        with self._lock:
            opening = self._opening
            is_own = not self._is_open_or_opening()
            if is_own:
                self._opening = opening = Future()
        assert opening is not None  # noqa: S101 - for the type checker
        if is_own:
            self._open(opening)
        try:
            return opening.result()
        except BaseException:
            self._forget(opening)
            raise

    def close(self) -> None:
        """Close the session, if there is one."""
        with self._lock:
            opening, self._opening = self._opening, None
        if opening is not None and opening.done() and opening.exception() is None:
            opening.result().close()

    def disown(self) -> None:
        """Let go of the session in a forked child, without a word on its stream."""
        self._lock = threading.Lock()  # another thread may have held it when the parent forked
        opening, self._opening = self._opening, None  # which nobody goes on opening here
        self._disowned = opening
        if opening is not None and opening.done() and opening.exception() is None:
            opening.result().disown()

    def _is_open_or_opening(self) -> bool:
        opening = self._opening
        if opening is None:
            return False
        if not opening.done():
            return True
        return opening.exception() is not None or not opening.result().is_lost

    def _has_failed(self) -> bool:
        opening = self._opening
        return opening is not None and opening.done() and opening.exception() is not None

    def _open(self, opening: Future[AgentSession]) -> None:
        try:
            opening.set_result(self._open_session())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the session gets it
            opening.set_exception(error)

    def _forget(self, opening: Future[AgentSession]) -> None:
        with self._lock:
            if self._opening is opening:
                self._opening = None


_keepers: Final[dict[Hashable, SessionKeeper]] = {}
_keepers_lock = threading.Lock()
_disowned: Final[list[SessionKeeper]] = []  # never freed: their ends would talk on the streams


def keeper_of(machine: Hashable, open_session: OpenSession) -> SessionKeeper:
    """This process's keeper of that machine's session; all who name it alike share it."""
    with _keepers_lock:
        if machine not in _keepers:
            _keepers[machine] = SessionKeeper(open_session)
        return _keepers[machine]


def _forget_all() -> None:
    """A forked child has its parent's sessions, whose threads and streams are not its own."""
    global _keepers_lock  # noqa: PLW0603 - it may have been held when the parent forked
    _keepers_lock = threading.Lock()
    inherited = list(_keepers.values())
    _disowned.extend(inherited)
    _keepers.clear()  # first: whatever happens, the child uses none of them
    for keeper in inherited:
        with suppress(Exception):
            keeper.disown()


os.register_at_fork(after_in_child=_forget_all)
