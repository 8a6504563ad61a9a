"""What jobs of a machine share, as turns or cards: locked files, which the kernel frees."""

import contextlib
import fcntl
import os
from typing import Callable, List, Optional, Sequence

_LOOK_SECONDS = 0.05


class Slot:
    """The right to what has that name, until `free` or the end of the process."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self._descriptor = descriptor

    def last_holder(self) -> Optional[str]:
        """The run id that `occupy` wrote last, by whomever; None in a new slot."""
        return os.pread(self._descriptor, 4096, 0).decode() or None

    def occupy(self, run_id: str) -> None:
        """Leave word of who has it, for the next one."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, run_id.encode(), 0)

    def free(self) -> None:
        """Give it up."""
        os.close(self._descriptor)


def acquire(
    folder: str,
    names: Sequence[str],
    needed: int,
    turn: str,
    is_stopped: Callable[[], bool],
    wait: Callable[[float], None],
) -> Optional[List[Slot]]:
    """Wait in line for so many of these slots at once; None if `is_stopped` became true first.

    `turn` is the caller's alone; those who wait are served in its order.
    """
    line = os.path.join(folder, "line")
    os.makedirs(line, mode=0o700, exist_ok=True)
    ticket = os.path.join(line, turn)
    draft = os.path.join(folder, turn)
    held_ticket = _open(draft)
    try:
        fcntl.flock(held_ticket, fcntl.LOCK_EX)
        os.rename(draft, ticket)  # only once it is locked: an unlocked ticket is a dead one
        while not is_stopped():
            slots = _take(folder, names, needed) if _is_first(line, turn) else None
            if slots is not None:
                return slots
            wait(_LOOK_SECONDS)
        return None
    finally:
        if os.path.exists(ticket):
            os.unlink(ticket)
        os.close(held_ticket)


def _take(folder: str, names: Sequence[str], needed: int) -> Optional[List[Slot]]:
    taken: List[Slot] = []
    for name in names:
        if len(taken) == needed:
            break
        descriptor = _open(os.path.join(folder, name))
        if _lock(descriptor, fcntl.LOCK_EX):
            taken.append(Slot(name, descriptor))
        else:
            os.close(descriptor)
    if len(taken) == needed:
        return taken
    for slot in taken:
        slot.free()
    return None


def _is_first(line: str, turn: str) -> bool:
    earlier = sorted(name for name in os.listdir(line) if name < turn)
    return not any(_is_waiting(os.path.join(line, name)) for name in earlier)


def _is_waiting(ticket: str) -> bool:
    try:
        descriptor = os.open(ticket, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if not _lock(descriptor, fcntl.LOCK_SH):
            return True
        with contextlib.suppress(FileNotFoundError):
            os.unlink(ticket)  # who died in line is out of it
        return False
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
