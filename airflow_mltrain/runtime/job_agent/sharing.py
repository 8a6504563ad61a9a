"""Work that several processes of this machine share."""

import json
import os
import sys
from typing import Callable, Optional, Sequence, Tuple, TypeVar

from . import process

_Item = TypeVar("_Item")


def share_out(
    items: Sequence[_Item], work: Callable[[Sequence[_Item]], None], processes: int
) -> None:
    """Have `work` done on all items, by this process and forked ones; OSError from any of them.

    All have ended when this returns, and none outlives this process.
    """
    shares = [items[number::processes] for number in range(processes)]
    begun = [_begin(work, share) for share in shares[1:]]
    try:
        work(shares[0])
    finally:
        faults = [_end(*one) for one in begun]
    for fault in faults:
        if fault is not None:
            raise fault


def _begin(work: Callable[[Sequence[_Item]], None], share: Sequence[_Item]) -> Tuple[int, int]:
    parent = os.getpid()
    outcome, outcome_end = os.pipe()
    pid = os.fork()
    if pid:
        os.close(outcome_end)
        return pid, outcome
    code = 1
    try:
        process.die_with(parent)
        work(share)
        code = 0
    except OSError as error:
        os.write(outcome_end, json.dumps([error.errno, str(error)]).encode())
    except BaseException as error:  # noqa: BLE001  # a fork may not run what is its parent's
        os.write(outcome_end, json.dumps([None, repr(error)]).encode())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _end(pid: int, outcome: int) -> Optional[OSError]:
    with os.fdopen(outcome, "rb") as file:
        told = file.read()
    _, status = os.waitpid(pid, 0)
    if status == 0:
        return None
    number, text = json.loads(told or '[null, "a process that shared the work was killed"]')
    return OSError(text) if number is None else OSError(number, text)
