"""What can be asked of this machine about jobs; every verb may be repeated."""

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from . import blobs, process
from .burial import bury_if_dead, bury_with, last_words
from .folder import TERMINAL, JobFolder
from .observer import Observer
from .plain_file import write_new
from .removal import make_removable
from .secret import Secrets, hand_over

if TYPE_CHECKING:
    from .environment.cache import EnvironmentCache

_BOOT_SUPERVISOR = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from job_agent.supervisor import main; main(sys.argv[2:])"
)
_BOOT_SPARE = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from job_agent.spare import main; main(sys.argv[2:])"
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
    secrets: Optional[Secrets] = None,
) -> bool:
    """Start a job in the background; nothing if that run id was started before.

    `variables` are the environment its processes begin with. Returns once a supervisor has claimed
    the job, and raises StartError with the reason if none did. False, and nothing was started,
    where blobs or previous outputs that it needs are missing.
    """
    folder = JobFolder(root, spec["run_id"])
    if folder.read_state() is not None:
        return True
    with blobs.kept(root):
        if not blobs.are_there(root, spec):
            return False
        why = _write_down(folder, spec)
    is_claimed = False
    if not why:
        try:
            is_claimed = _launch(folder, variables, interpreter, secrets)
        except OSError as error:
            why = str(error)
    # A supervisor's own word counts first: its script may have removed the claim by now.
    if not is_claimed and folder.read_state() is None:
        raise StartError(why or last_words(folder) or "its supervisor died without a word")
    return True


def bury(root: str, run_id: str, reason: str, exit_code: Optional[int]) -> None:
    """Record the end of a job whose container is gone; nothing where it lives or has ended."""
    bury_with(JobFolder(root, run_id), reason, exit_code)


def place(root: str) -> str:
    """Tells this root folder from any other, on whatever machine and under whatever path."""
    path = os.path.join(root, "place")
    os.makedirs(root, mode=0o700, exist_ok=True)
    write_new(path, os.urandom(16).hex().encode())
    with open(path) as file:
        return file.read()


def observe(
    root: str, seen: Dict[str, Dict[str, Any]], wait_seconds: float
) -> Dict[str, Dict[str, Any]]:
    """The states of many jobs, as `Observer.observe` says, for who asks once."""
    return Observer(root).observe(seen, wait_seconds)


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
    if os.path.islink(folder.path):  # which a script has put there; not what it leads to
        os.unlink(folder.path)
    if not os.path.isdir(folder.path):
        return
    import shutil  # noqa: PLC0415  # dear at start-up, for what is not asked at first

    make_removable(folder.path)
    for entry in list(os.scandir(folder.path)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        elif entry.path != folder.state:
            os.unlink(entry.path)
    shutil.rmtree(folder.path)  # the claim goes last: until then nobody can start the job again


def leave_spare(root: str, run_id: str) -> None:
    """Have a process lay out an ended job's code once more, which nobody waits for.

    Of a job in a container, whose supervisor ends with that; asked by who has fetched its results.
    """
    from .script import own_program  # noqa: PLC0415  # no job of a machine asks for it
    from .spare import Spares  # noqa: PLC0415  # nor for that

    try:
        snapshot_id = JobFolder(root, run_id).read_spec()["snapshot_id"]
        if not Spares(root).is_worthwhile(snapshot_id):
            return
    except FileNotFoundError:  # somebody has cleared up
        return
    maker = subprocess.Popen(
        [*own_program(_BOOT_SPARE), root, snapshot_id],
        cwd="/",
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    threading.Thread(target=maker.wait, daemon=True).start()


def list_environments(root: str) -> List[Dict[str, Any]]:
    """The environments that are ready on this machine, last used first."""
    return _environments(root).list()


def collect_environments(
    root: str, max_bytes: Optional[int], *, is_dry_run: bool
) -> List[Dict[str, Any]]:
    """Remove unused environments, least recently used first, until the rest has `max_bytes`."""
    return _environments(root).collect(max_bytes, is_dry_run=is_dry_run)


def list_jobs(root: str) -> List[Dict[str, Any]]:
    """The jobs that this machine has, as `inventory.list_jobs` says."""
    from .inventory import list_jobs  # noqa: PLC0415  # no run asks for it

    return list_jobs(root)


def collect_blobs(root: str, least_age_seconds: float, *, is_dry_run: bool) -> Dict[str, int]:
    """Remove blobs that no job needs, as `inventory.collect_blobs` says."""
    from .inventory import collect_blobs  # noqa: PLC0415  # no run asks for it

    return collect_blobs(root, least_age_seconds, is_dry_run=is_dry_run)


def _environments(root: str) -> "EnvironmentCache":
    from .environment.cache import EnvironmentCache  # noqa: PLC0415  # as dear

    return EnvironmentCache(os.path.join(root, "envs"))


def _write_down(folder: JobFolder, spec: Dict[str, Any]) -> str:
    """Make the job known here; why it could not be, or nothing."""
    try:
        folder.create()
        folder.write_spec(spec)
    except OSError as error:
        return str(error)
    return ""


def _launch(
    folder: JobFolder,
    variables: Dict[str, str],
    interpreter: str,
    secrets: Optional[Secrets],
) -> bool:
    """Run a supervisor, detached from this process; False if it died before the job had one."""
    runtime = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    ready, ready_end = os.pipe()
    handed_over = hand_over(secrets)
    argv = [interpreter, "-I", "-S", "-X", "utf8", "-c", _BOOT_SUPERVISOR, runtime, folder.root]
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
        return os.read(ready, 1) != b""
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
