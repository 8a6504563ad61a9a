"""Looking at a machine without failing, and without waiting for ever."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

_PROGRAM_SECONDS = 5.0
_LAST_SECONDS = 0.5


class ProbeError(Exception):
    """Why something could not be looked at, in words."""


class Answer(NamedTuple):
    """What a program said, and its exit code."""

    exit_code: int
    output: str
    complaint: str


def look_at_all(
    probes: Mapping[str, Callable[[], Any]], patience_seconds: float
) -> Dict[str, Any]:
    """What each of them found, all at once; {"error": text} for one that failed or hangs.

    A probe that hangs, on a dead network disk say, is left behind in a thread of its own.
    """
    found: Dict[str, Any] = {}

    def work(name: str, probe: Callable[[], Any]) -> None:
        found[name] = look(probe)

    threads = [
        threading.Thread(target=work, args=item, name="mltrain-probe", daemon=True)
        for item in probes.items()
    ]
    deadline = time.monotonic() + patience_seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silence = {"error": "no answer within {:g} seconds".format(patience_seconds)}
    return {name: found.get(name, silence) for name in probes}


def look(probe: Callable[[], Any]) -> Any:
    """What the probe found; {"error": text} if it failed."""
    try:
        return probe()
    except (OSError, ProbeError) as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001  # what it tripped over is a fact of the machine too
        return {"error": "{}: {}".format(type(error).__name__, error)}


def ask(
    argv: List[str],
    variables: Optional[Mapping[str, str]] = None,
    patience_seconds: float = _PROGRAM_SECONDS,
) -> Answer:
    """Run a small program, in English unless `variables` are given, and with nothing to read.

    Raises OSError where it cannot be run, and ProbeError where it does not end in time; it and
    what it started are killed then.
    """
    child = subprocess.Popen(
        argv,
        cwd="/",
        env=dict(os.environ, LC_ALL="C") if variables is None else dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, complaint = child.communicate(timeout=patience_seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # in the kernel, it cannot be killed
            child.communicate(timeout=_LAST_SECONDS)
        raise ProbeError(
            "{} did not end within {:g} seconds".format(argv[0], patience_seconds)
        ) from None
    return Answer(
        child.returncode, output.decode(errors="replace"), complaint.decode(errors="replace")
    )
