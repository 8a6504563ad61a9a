"""The supervisor of a job that has a container to itself, whose main process it is."""

import os
import sys
import time
from typing import Optional

from . import process
from .environment import ENVIRONMENTS_IN_IMAGE
from .folder import JobFolder
from .order import OrderInput
from .order_answer import CLAIMED, answer
from .plain_file import read_from, size_of
from .script_user import ScriptUser, UnknownUserError, find_user
from .supervisor import Supervisor

_LOOK_SECONDS = 0.003
_PATIENCE_SECONDS = 900.0  # an upload may be under way, by somebody who comes back
_PATIENCE_WHEN_CANCELED_SECONDS = 2.0
_NOTHING_TO_DO = 75


def main(root: str, run_id: str, user: Optional[str], *, is_ordered: bool) -> int:
    """Run the job that is ordered or laid down; what the container is to exit with.

    Its folder may be on a volume that all containers of an engine share, so it holds what shows
    there that it lives. A second one for the same job, now or ever, does nothing.
    """
    process.adopt_orphans()
    folder = JobFolder(root, run_id)
    _take_in_environments(folder)
    orders = OrderInput()
    if not is_ordered:
        orders.close()
    if not _await_job(folder, orders):
        return _NOTHING_TO_DO
    orders.close()
    laid_down = _take_secrets(folder)
    try:
        script_user = _find_script_user(user)
    except UnknownUserError as error:
        print(error, file=sys.stderr)
        return 1
    supervisor = Supervisor(
        folder, orders.secrets or laid_down, script_user, {"is_contained": True}
    )
    if not folder.hold_life() or not supervisor.claim():
        return _NOTHING_TO_DO
    answer(CLAIMED)
    supervisor.run()
    return supervisor.exit_code


def _await_job(folder: JobFolder, orders: OrderInput) -> bool:
    """Whether there is something to do, within the time that an upload takes."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not _is_whole(folder, orders):
        if folder.is_marked_canceled():  # a job on its way is recorded as canceled
            deadline = min(deadline, time.monotonic() + _PATIENCE_WHEN_CANCELED_SECONDS)
        if time.monotonic() > deadline:
            return False
        orders.take(folder.root, _LOOK_SECONDS)
    return True


def _is_whole(folder: JobFolder, orders: OrderInput) -> bool:
    """Whether the job is there with its secrets: who laid it down may have died with those.

    Those of a job that somebody has claimed are none of ours.
    """
    if not os.path.exists(folder.spec):
        return False
    if orders.secrets or size_of(folder.secrets) or not folder.read_spec()["has_secrets"]:
        return True
    return folder.read_state() is not None


def _take_in_environments(folder: JobFolder) -> None:
    """Have what lies in this container's image used; without, it is built."""
    if os.path.isdir(ENVIRONMENTS_IN_IMAGE):
        from .environment.image import take_in  # noqa: PLC0415  # few images have any

        try:
            take_in(folder.environments, ENVIRONMENTS_IN_IMAGE)
        except OSError as error:
            print("the environments in the image are not used:", error, file=sys.stderr)


def _find_script_user(user: Optional[str]) -> Optional[ScriptUser]:
    found = find_user(user) if user else None
    return None if found is None or found.uid == 0 else found


def _take_secrets(folder: JobFolder) -> bytes:
    """What was laid down for the builder of an environment; it lies there no longer."""
    content = read_from(folder.secrets, 0, size_of(folder.secrets))
    if content:
        os.unlink(folder.secrets)
    return content
