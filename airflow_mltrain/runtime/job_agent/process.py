"""Which processes belong to a job, whether they live, and how they are stopped."""

import contextlib
import os
import signal
import time
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Set

RUN_ID_VARIABLE = "MLTRAIN_RUN_ID"
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_FIRST_LOOK_SECONDS, _LAST_LOOK_SECONDS = 0.005, 0.2
_LOOKS_TO_BE_SURE = 2  # one that forks and ends while we look can be missed once
_GONE = (FileNotFoundError, ProcessLookupError)


class Process(NamedTuple):
    """A live process as one look at the machine found it."""

    pid: int
    start_time: str
    parent: int


def identity() -> Dict[str, object]:
    """This process, told apart from a later one with its pid, also after a reboot."""
    own = _read(os.getpid())
    if own is None:
        raise RuntimeError("/proc does not show this process; the job agent needs it")
    return {
        "pid": own.pid,
        "start_time": own.start_time,
        "host": os.uname().nodename,
        "boot_id": boot_id(),
        "pid_namespace": _pid_namespace(),
    }


def boot_id() -> str:
    """Changes whenever the machine starts."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def is_alive(who: Dict[str, object]) -> bool:
    """Whether the process of that `identity` lives.

    A zombie is dead. What runs on another host or in another container, and is seen through a
    shared folder, cannot be judged from here, so it lives.
    """
    if who["boot_id"] != boot_id():
        here = os.uname().nodename
        return who.get("host", here) != here
    if who["pid_namespace"] != _pid_namespace():
        return True
    found = _read(int(str(who["pid"])))
    return found is not None and found.start_time == who["start_time"]


def poke(who: Dict[str, object]) -> None:
    """Wake a supervisor, so that it looks at its cancel mark now and not a second later."""
    is_here = who["boot_id"] == boot_id() and who["pid_namespace"] == _pid_namespace()
    if is_here and is_alive(who):
        _signal(int(str(who["pid"])), signal.SIGUSR1)


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ends: none is out of sight."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel signal this process when `parent` dies; called in its child before exec."""
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it died before the kernel was told
        os._exit(1)


def processes_of(run_id: str, ancestor: Optional[int] = None) -> List[Process]:
    """A job's live processes, without its supervisor and the caller.

    They carry the run id in their environment, or descend from `ancestor`, the supervisor. What
    carries another run id is another job, though it was submitted from within this one.
    """
    tag = "{}={}".format(RUN_ID_VARIABLE, run_id).encode()
    tags = {process: _run_tag(process.pid) for process in _every_process()}
    foreign = {process.pid for process, carried in tags.items() if carried not in (None, tag)}
    members = {process.pid for process, carried in tags.items() if carried == tag}
    if ancestor is not None:
        members |= _descendants(list(tags), ancestor, foreign)
    members -= {os.getpid(), ancestor}
    return [process for process in tags if process.pid in members]


def stop_all(
    find: Callable[[], List[Process]],
    grace_seconds: float,
    wait: Callable[[float], None] = time.sleep,
    patience_seconds: float = float("inf"),
) -> bool:
    """Send SIGTERM to all that `find` names, after the grace period SIGKILL, until none is left.

    What they start in their grace period, to save their work, is left alone until it is over,
    unless its parent is gone. False if some still live when the patience is at its end.
    """
    started = time.monotonic()
    told: Set[str] = set()
    empty_looks = 0
    pause = _FIRST_LOOK_SECONDS
    while True:
        alive = find()
        empty_looks = 0 if alive else empty_looks + 1
        if empty_looks == _LOOKS_TO_BE_SURE:
            return True
        elapsed = time.monotonic() - started
        if elapsed >= grace_seconds:
            for one in alive:
                _signal(one.pid, signal.SIGKILL)
        else:
            _terminate(alive, told)
        if elapsed > patience_seconds:
            return False
        pause = min(pause * 1.5, _LAST_LOOK_SECONDS) if alive else _FIRST_LOOK_SECONDS
        wait(min(pause, grace_seconds - elapsed) if elapsed < grace_seconds else pause)


def signal_name(number: int) -> str:
    """The name of a signal, as SIGKILL; "signal 40" for one that has none, as those of users."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal {}".format(number)


def out_of_memory_kills() -> int:
    """How often this machine's kernel has killed a process for want of memory; -1 if unknown."""
    try:
        with open("/proc/vmstat") as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except OSError:
        pass
    return -1


def _terminate(alive: List[Process], told: Set[str]) -> None:
    pids = {one.pid for one in alive}
    is_first = not told
    for one in alive:
        key = "{}/{}".format(one.pid, one.start_time)
        if key not in told and (is_first or one.parent not in pids):
            told.add(key)
            _signal(one.pid, signal.SIGTERM)
            _signal(one.pid, signal.SIGCONT)  # one that is stopped must hear it too


def _signal(pid: int, number: int) -> None:
    if pid <= 1:
        raise ValueError("refusing to signal pid {}".format(pid))
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _pid_namespace() -> str:
    return os.readlink("/proc/self/ns/pid")


def _every_process() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        process = _read(int(name)) if name.isdigit() else None
        if process is not None:
            yield process


def _read(pid: int) -> Optional[Process]:
    # Any other error must not pass for death: too many open files, say.
    try:
        with open("/proc/{}/stat".format(pid), "rb") as file:
            # The name in parentheses may hold anything, parentheses too.
            fields = file.read().rpartition(b")")[2].split()
    except _GONE:
        return None
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, fields[19].decode(), int(fields[1]))


def _descendants(everything: List[Process], ancestor: int, foreign: Set[int]) -> Set[int]:
    children: Dict[int, List[int]] = {}
    for process in everything:
        children.setdefault(process.parent, []).append(process.pid)
    found: Set[int] = set()
    pending = [ancestor]
    while pending:
        for child in children.get(pending.pop(), ()):
            if child not in found and child not in foreign:
                found.add(child)
                pending.append(child)
    return found


def _run_tag(pid: int) -> Optional[bytes]:
    try:
        with open("/proc/{}/environ".format(pid), "rb") as file:
            variables = file.read().split(b"\0")
    except (*_GONE, PermissionError):
        return None
    prefix = RUN_ID_VARIABLE.encode() + b"="
    return next((variable for variable in variables if variable.startswith(prefix)), None)


def _prctl(option: int, argument: int) -> None:
    import ctypes  # noqa: PLC0415  # dear at start-up, and needed only by a supervisor

    if ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl({}) failed".format(option))
