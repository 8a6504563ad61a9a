"""Processes that need no time to load anything, and work done by several at the same instant."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from tests.services.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.context import ForkServerContext
    from threading import Barrier

Argument = TypeVar("Argument")
Result = TypeVar("Result")

_gates: list[Barrier] = []


def fork_server() -> ForkServerContext:
    """Gives processes that have the product loaded from their first moment.

    One server serves all tests of this process, and has loaded what the first asked for: so all
    ask here.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "tests.crash.stage", "tests.artifacts.storing"])
    return context


def run_together(
    work: Callable[[Argument], Result], arguments: Sequence[Argument]
) -> list[Result]:
    """What `work` returns for each argument, each in a fresh process, all let go at once."""
    context = fork_server()
    gate = context.Barrier(len(arguments))
    with ProcessPoolExecutor(
        len(arguments),
        mp_context=context,
        initializer=_stand_at,
        initargs=(gate, dict(os.environ)),
    ) as pool:
        started = [pool.submit(_work_at_the_gate, work, argument) for argument in arguments]
        return [each.result() for each in started]


def _stand_at(gate: Barrier, variables: dict[str, str]) -> None:
    os.environ.update(variables)  # the server that forks has those of the test that began it
    _gates.append(gate)


def _work_at_the_gate(work: Callable[[Argument], Result], argument: Argument) -> Result:
    _gates[-1].wait(PATIENCE_SECONDS)
    return work(argument)
