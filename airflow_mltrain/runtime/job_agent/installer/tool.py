"""The programs that install packages on a target: where they are, and how they are run."""

import os
import re
import select
import shutil
import subprocess
import sys
from typing import IO, Any, Dict, List, NamedTuple, Optional, Tuple

from .. import process

_OLDEST_UV = (0, 4, 23)  # the first that knows UV_DEFAULT_INDEX: others would ask the wrong index
_VERSION_SECONDS = 30
_LOOK_SECONDS = 0.2
_READ_BYTES = 1 << 16
_KEPT_BYTES, _KEPT_CHARACTERS = 1 << 14, 3000
_MOST_WAITING_BYTES = 1 << 16
_URL_CREDENTIALS = re.compile(rb"(://)[^\s/'\"]+@")
_OPEN_URL = re.compile(rb":(/(/[^\s/'\"]{0,16384})?)?\Z")  # longer ones are no credentials

Recipe = Dict[str, Any]
Lock = Dict[str, List[str]]


class InstallError(Exception):
    """What could not be installed, for a person: the tool's own words first, then what to do."""


class Tools(NamedTuple):
    """The programs of this machine that can make an environment; None for one it lacks."""

    uv: Optional[str]
    conda: Optional[str]


def find_tools(brought_uv: Optional[str]) -> Tools:
    """Look for a uv that runs, the brought one first, and for micromamba, mamba or conda."""
    home = os.path.expanduser("~")
    own = os.path.join(home, ".local", "bin")
    beside_python = os.path.dirname(sys.executable)
    places = [*_path(), beside_python, own, os.path.join(home, ".cargo", "bin")]
    candidates = [brought_uv] if brought_uv else []
    candidates += [os.path.join(place, "uv") for place in places]
    uv = next((path for path in candidates if _is_usable_uv(path)), None)
    places = [*_path(), own, os.path.join(home, "micromamba", "bin")]
    places += [os.path.join(home, "miniconda3", "bin"), "/opt/conda/bin"]
    search = os.pathsep.join(places)
    found = (shutil.which(name, path=search) for name in ("micromamba", "mamba", "conda"))
    return Tools(uv, next((path for path in found if path is not None), None))


def run(
    argv: List[str],
    work: str,
    environment: Dict[str, str],
    advice: str,
    answer: Optional[str] = None,
) -> None:
    """Run a tool in `work` until it ends, its words going on to this process's own output.

    With `answer`, what it prints goes into that file, and only its complaints go on. Raises
    InstallError with the end of its words and `advice` unless it exits with 0.
    """
    sys.stdout.flush()
    own_pid = os.getpid()
    with open(os.devnull if answer is None else answer, "wb") as file:
        try:
            child = subprocess.Popen(
                argv,
                cwd=work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if answer is None else file,
                stderr=subprocess.STDOUT if answer is None else subprocess.PIPE,
                preexec_fn=lambda: process.die_with(own_pid),  # noqa: PLW1509  # no threads here
            )
        except OSError as error:
            raise InstallError("{}\n{}".format(error, advice)) from None
    with child:
        words = child.stdout if answer is None else child.stderr
        if words is None:
            raise AssertionError("one of the two is a pipe")
        end = _pass_on(words, child)
    if child.returncode != 0:
        raise InstallError("{}\n{}".format(_last_words(end, child.returncode), advice))


def ask(argv: List[str], work: str, environment: Dict[str, str]) -> Optional[str]:
    """What a small program prints; None if it fails."""
    own_pid = os.getpid()
    try:
        answer: "subprocess.CompletedProcess[bytes]" = subprocess.run(
            argv,
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_VERSION_SECONDS,
            check=True,
            preexec_fn=lambda: process.die_with(own_pid),
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode(errors="replace").strip()


def version_of(text: str) -> Tuple[int, ...]:
    """The leading numbers of a version, for comparison: (22, 3) for 22.3rc1."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def _path() -> List[str]:
    return [place for place in os.environ.get("PATH", os.defpath).split(os.pathsep) if place]


def _is_usable_uv(path: str) -> bool:
    if not (os.path.isfile(path) and os.access(path, os.X_OK)):
        return False
    said = ask([path, "--version"], os.path.sep, dict(os.environ))
    words = said.split() if said else []
    return len(words) > 1 and version_of(words[1]) >= _OLDEST_UV


def _pass_on(words: "IO[bytes]", child: "subprocess.Popen[bytes]") -> bytes:
    """Write on what a child says, by lines or long pieces without credentials; the end of it."""
    own_output = sys.stdout.fileno()
    end = waiting = b""
    while True:
        is_ended = child.poll() is not None
        # A daemon that a build left behind may hold the pipe open for ever.
        if not select.select([words], [], [], 0 if is_ended else _LOOK_SECONDS)[0]:
            if is_ended:
                break
            continue
        chunk = os.read(words.fileno(), _READ_BYTES)
        if not chunk:
            break
        ready, waiting = _divide(waiting, chunk)
        end = _tell(own_output, end, ready)
    end = _tell(own_output, end, waiting)
    return _tell(own_output, end, b"" if end.endswith(b"\n") else b"\n") if end else b""


def _divide(waiting: bytes, chunk: bytes) -> Tuple[bytes, bytes]:
    """What can be told, now that `chunk` came after `waiting`, and what has to wait for more."""
    line_end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
    if line_end:
        ready, waiting = waiting + chunk[:line_end], chunk[line_end:]
    else:
        ready, waiting = b"", waiting + chunk
    if len(waiting) > _MOST_WAITING_BYTES:
        open_url = _OPEN_URL.search(waiting)
        cut = open_url.start() if open_url else len(waiting)
        ready, waiting = ready + waiting[:cut], waiting[cut:]
    return ready, waiting


def _tell(output: int, end: bytes, words: bytes) -> bytes:
    told = _URL_CREDENTIALS.sub(rb"\1****@", words)
    left = memoryview(told)
    while left:
        left = left[os.write(output, left) :]
    return (end + told)[-_KEPT_BYTES:]


def _last_words(end: bytes, exit_code: int) -> str:
    """The tool's complaint, without the account of its progress before it."""
    lines = end.decode(errors="replace").rstrip().splitlines()
    starts = (number for number, line in enumerate(lines) if _is_complaint(line))
    text = "\n".join(lines[next(starts, 0) :])[-_KEPT_CHARACTERS:]
    if exit_code < 0:
        text += "\nit was killed by {}".format(process.signal_name(-exit_code))
    return text.strip() or "it ended with exit code {} and no word".format(exit_code)


def _is_complaint(line: str) -> bool:
    return line.strip().lower().startswith(("error:", "error "))
