"""Leaving a job to a supervisor that waits for it in a container."""

import contextlib
import os
import time
from typing import Any, Dict, Optional

from . import blobs
from .folder import JobFolder
from .plain_file import write_new
from .secret import Secrets, encode_secrets

_CLAIM_LOOK_SECONDS = 0.003


def complete(root: str, spec: Dict[str, Any]) -> Dict[str, Any]:
    """A job's spec with what is this machine's to say."""
    environment = spec["environment"]
    if environment is not None:
        from .brought_tool import BroughtTools  # noqa: PLC0415  # dear at start-up

        environment = dict(environment, uv=BroughtTools(root).uv())
    runtime = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    modules = os.path.join(runtime, "training")
    return dict(spec, training_modules=modules, environment=environment)


def lay_down(
    root: str,
    spec: Dict[str, Any],
    log: bytes = b"",
    secrets: Optional[Secrets] = None,
) -> bool:
    """Leave a job to its supervisor; only its secrets if that run id was laid down before.

    Who laid it down may have had them in memory, and be gone. Its log begins with `log`. False,
    and nothing was laid down, where blobs that it needs are missing.
    """
    folder = JobFolder(root, spec["run_id"])
    if os.path.exists(folder.spec):
        if folder.read_state() is None:
            _leave_secrets(folder, secrets)
        return True
    with blobs.kept(root):
        if not blobs.are_there(root, spec):
            return False
        folder.create()
        if log:
            write_new(folder.log, log)
        _leave_secrets(folder, secrets)
        folder.write_spec(spec)
    return True


def _leave_secrets(folder: JobFolder, secrets: Optional[Secrets]) -> None:
    if secrets:
        folder.remove_secrets()  # of who was killed here, and had others
        write_new(folder.secrets, encode_secrets(secrets))


def withdraw(root: str, run_id: str) -> None:
    """Take back a job that was laid down and that nobody will claim; a cancel mark stays."""
    folder = JobFolder(root, run_id)
    if folder.read_state() is not None:
        return
    folder.remove_secrets()
    for path in (folder.spec, folder.log):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    with contextlib.suppress(OSError):  # there is more in it
        os.rmdir(folder.path)


def await_claim(root: str, run_id: str, wait_seconds: float) -> bool:
    """Whether a supervisor has claimed the job, at the latest after `wait_seconds`."""
    folder = JobFolder(root, run_id)
    deadline = time.monotonic() + wait_seconds
    while folder.read_state() is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_CLAIM_LOOK_SECONDS)
    return True
