"""What can be asked of this machine about jobs; every verb may be repeated."""

import os
import shutil
import subprocess
import sys
import time
import uuid
from typing import Any, Dict, List, Optional

from . import process
from .burial import bury_if_dead, last_words
from .environment.cache import EnvironmentCache
from .environment.credential import hand_over
from .folder import TERMINAL, JobFolder, read_from, size_of, write_new
from .removal import make_removable

_CHUNK_BYTES = 1024 * 1024
_EXCHANGE_BYTES = 8 * 1024 * 1024
_FIRST_LOOK_SECONDS, _LAST_LOOK_SECONDS = 0.005, 0.02
_LOOK_SECONDS_PER_JOB = 0.0005
_LIVENESS_SECONDS = 1.0
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from job_agent.supervisor import main; main(sys.argv[2:])"
)


class StartError(Exception):
    """No supervisor took the job; nothing was started."""


class NotEndedError(Exception):
    """The job still lives, and must not."""


def start(
    root: str,
    spec: Dict[str, Any],
    variables: Dict[str, str],
    interpreter: str = sys.executable,
    credentials: Optional[Dict[str, Any]] = None,
) -> None:
    """Start a job in the background; nothing if that run id was started before.

    `variables` are the environment its processes begin with, `credentials` what the package
    indexes of its environment ask for: host -> [login, password]. Returns once a supervisor has
    claimed the job, and raises StartError with the reason if none did.
    """
    folder = JobFolder(root, spec["run_id"])
    if folder.read_state() is not None:
        return
    why = ""
    try:
        folder.create()
        folder.write_spec(spec)
        _launch(folder, variables, interpreter, credentials)
    except OSError as error:
        why = str(error)
    if folder.read_state() is None:
        raise StartError(why or last_words(folder) or "its supervisor died without a word")


def place(root: str) -> str:
    """Tells this root folder from any other, on whatever machine and under whatever path."""
    path = os.path.join(root, "place")
    os.makedirs(root, mode=0o700, exist_ok=True)
    write_new(path, uuid.uuid4().hex.encode())
    with open(path) as file:
        return file.read()


def observe(
    root: str, seen: Dict[str, Dict[str, Any]], wait_seconds: float
) -> Dict[str, Dict[str, Any]]:
    """The states of many jobs, with their log and metrics past the given positions.

    `seen` maps a run id to {"status", "log", "metrics", "environment_key"}: what the caller knows
    already. Returns as
    soon as one of them has news, at the latest after `wait_seconds`. A run id that was never
    started here is missing from the answer. At most a mebibyte of each log comes at once.
    """
    folders = {run_id: JobFolder(root, run_id) for run_id in seen}
    deadline = time.monotonic() + wait_seconds
    pause = max(_FIRST_LOOK_SECONDS, _LOOK_SECONDS_PER_JOB * len(seen))
    last_pause = max(_LAST_LOOK_SECONDS, _LOOK_SECONDS_PER_JOB * len(seen))
    next_liveness = 0.0
    while True:
        now = time.monotonic()
        if now >= next_liveness:
            next_liveness = now + _LIVENESS_SECONDS
            for folder in folders.values():
                _try_to_bury(folder)
        states = {run_id: folder.read_state() for run_id, folder in folders.items()}
        has_news = any(_has_news(folders[run_id], states[run_id], seen[run_id]) for run_id in seen)
        if has_news or now >= deadline:
            return _answer(folders, states, seen)
        time.sleep(min(pause, max(0.0, deadline - now)))
        pause = min(pause * 1.5, last_pause)


def cancel(root: str, run_id: str) -> None:
    """Have the job and all it started stopped; returns before they are gone.

    A job that has yet to start will be Canceled without running; one that ended stays as it is.
    """
    folder = JobFolder(root, run_id)
    folder.mark_canceled()
    state = folder.read_state()
    if state is not None and state["status"] not in TERMINAL:
        process.poke(state["supervisor"])
        _try_to_bury(folder)


def discard(root: str, run_id: str) -> None:
    """Remove every trace of an ended job; NotEndedError if it has not ended."""
    folder = JobFolder(root, run_id)
    _try_to_bury(folder)
    state = folder.read_state()
    if state is not None and state["status"] not in TERMINAL:
        raise NotEndedError("job {} has not ended; cancel it first".format(run_id))
    if not os.path.isdir(folder.path):
        return
    make_removable(folder.path)
    for entry in list(os.scandir(folder.path)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        elif entry.path != folder.state:
            os.unlink(entry.path)
    shutil.rmtree(folder.path)  # the claim goes last: until then nobody can start the job again


def list_environments(root: str) -> List[Dict[str, Any]]:
    """The environments that are ready on this machine, last used first."""
    return EnvironmentCache(_environments(root)).list()


def collect_environments(
    root: str, max_bytes: Optional[int], *, is_dry_run: bool
) -> List[Dict[str, Any]]:
    """Remove unused environments, least recently used first, until the rest has `max_bytes`."""
    return EnvironmentCache(_environments(root)).collect(max_bytes, is_dry_run=is_dry_run)


def _environments(root: str) -> str:
    return os.path.join(root, "envs")


def _launch(
    folder: JobFolder,
    variables: Dict[str, str],
    interpreter: str,
    credentials: Optional[Dict[str, Any]],
) -> None:
    """Run a supervisor, detached from this process; return when it has the job, or is dead."""
    runtime = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    ready, ready_end = os.pipe()
    handed_over = hand_over(credentials)
    argv = [interpreter, "-I", "-S", "-X", "utf8", "-c", _BOOT, runtime, folder.root]
    try:
        with open(folder.supervisor_log, "ab") as log:
            subprocess.Popen(
                [*argv, folder.run_id, str(ready_end)],
                cwd="/",
                env={**variables, process.RUN_ID_VARIABLE: folder.run_id},
                stdin=handed_over,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(ready_end,),
            ).wait()
        os.close(ready_end)
        ready_end = -1
        os.read(ready, 1)
    finally:
        os.close(ready)
        os.close(handed_over)
        if ready_end >= 0:
            os.close(ready_end)


def _try_to_bury(folder: JobFolder) -> None:
    try:
        bury_if_dead(folder)
    except OSError as error:  # a full disk must not hide the other jobs; the next look tries again
        print("job {} is dead, not recorded yet: {}".format(folder.run_id, error), file=sys.stderr)


def _has_news(folder: JobFolder, state: Optional[Dict[str, Any]], known: Dict[str, Any]) -> bool:
    if state is None:
        return False
    return bool(
        state["status"] != known["status"]
        or state["status"] in TERMINAL
        or size_of(folder.log) > known["log"]
        or size_of(folder.metrics) > known["metrics"]
    )


def _answer(
    folders: Dict[str, JobFolder],
    states: Dict[str, Optional[Dict[str, Any]]],
    seen: Dict[str, Dict[str, Any]],
) -> Dict[str, Dict[str, Any]]:
    found = {run_id: state for run_id, state in states.items() if state is not None}
    # Those who need little come first, and what they leave is shared: nobody is crowded out.
    by_need = sorted(found, key=lambda run_id: _unread(folders[run_id], seen[run_id]))
    budget = _EXCHANGE_BYTES
    answer = {}
    for index, run_id in enumerate(by_need):
        folder, known = folders[run_id], seen[run_id]
        limit = min(_CHUNK_BYTES, budget // (2 * (len(by_need) - index)))
        log = read_from(folder.log, known["log"], limit)
        metrics = read_from(folder.metrics, known["metrics"], limit)
        budget -= len(log) + len(metrics)
        answer[run_id] = dict(found[run_id], log=log, metrics=metrics)
        key = found[run_id].get("environment_key")
        if key != known["environment_key"]:
            digest = found[run_id].get("environment_digest")
            answer[run_id]["environment"] = folder.read_environment(digest)
    return answer


def _unread(folder: JobFolder, known: Dict[str, Any]) -> int:
    return (
        size_of(folder.log) - int(known["log"]) + size_of(folder.metrics) - int(known["metrics"])
    )
