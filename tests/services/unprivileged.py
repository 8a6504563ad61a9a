"""A user who is bound by permissions, as whoever runs the tests may not be."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from concurrent.futures import Executor

_NOBODY = 65534


class Unprivileged(NamedTuple):
    """A folder of the user's, and a process that does as the user what it is given."""

    folder: Path
    process: Executor


@contextmanager
def unprivileged() -> Iterator[Unprivileged]:
    """Functions of a module can be given to the process, with what can be pickled."""
    user = _NOBODY if os.geteuid() == 0 else os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, user, -1)
        pool = ProcessPoolExecutor(
            1, mp_context=get_context("fork"), initializer=os.setuid, initargs=(user,)
        )
        with pool:
            yield Unprivileged(Path(name), pool)
