"""Which Python of this machine an environment is built on."""

import glob
import json
import os
import re
import subprocess
import sys
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

_PROBE = (
    "import json, sys; print(json.dumps(["
    "getattr(sys, '_base_executable', None) or sys.executable, sys.version.split()[0], "
    "sys.implementation.name + '-freethreaded' * ('t' in getattr(sys, 'abiflags', ''))]))"
)
_PROBE_SECONDS = 10.0  # a shim that asks its server, or a binary on a sleeping disk
_USUAL_FOLDERS = (
    "~/.pyenv/versions/*/bin",
    "~/.local/share/uv/python/*/bin",
    "/usr/bin",
    "/usr/local/bin",
    "/opt/python/*/bin",
)
_MOST_VENVS = 10  # one inside the other


class Interpreter(NamedTuple):
    """A Python that is no virtual environment; `version` is full, as in "3.11.7"."""

    path: str
    version: str
    implementation: str


class InterpreterNotFoundError(Exception):
    """This machine has no such Python; says which it has and what to do."""


def recall_interpreter(request: Optional[str], memory: str) -> Optional[Interpreter]:
    """As `find_interpreter`, at once: None where it would have to search."""
    own = _own_interpreter()
    if request is None or _fits(own.version, request):
        return own
    known = _recall(_read_memory(memory).get(request))
    return known if known is not None and _fits(known.version, request) else None


def find_interpreter(request: Optional[str], memory: str) -> Interpreter:
    """The Python that `request` means: "3.11", "3.11.7", or None for the one that runs this.

    The own one is taken where it fits, otherwise the newest that does. What was found is kept in
    the file `memory`, so that the next caller starts no process. InterpreterNotFoundError where
    none fits.
    """
    known = recall_interpreter(request, memory)
    if known is not None or request is None:
        return known or _own_interpreter()
    own, remembered = _own_interpreter(), _read_memory(memory)
    found = list(_search(request))
    fitting = [one for one in found if _fits(one.version, request)]
    if not fitting:
        raise InterpreterNotFoundError(_lament(request, [own, *found]))
    best = max(fitting, key=_preference)
    remembered[request] = [*best, _signature(best.path)]
    _write_memory(memory, remembered)
    return best


def ask_interpreter(path: str) -> Optional[Interpreter]:
    """What the Python at this path says of itself; None if it is none, or does not run."""
    try:
        answer = subprocess.run(
            [path, "-I", "-S", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_SECONDS,
            check=True,
        ).stdout
        executable, version, implementation = json.loads(answer)
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        return None
    base = _trace_to_base(executable, version)
    return Interpreter(base, version, implementation) if os.access(base, os.X_OK) else None


def platform_of(interpreter: Interpreter) -> str:
    """Where a lock made for this Python holds: as in "cpython-3.11-linux-x86_64-glibc"."""
    try:
        library = (os.confstr("CS_GNU_LIBC_VERSION") or "musl").split()[0]
    except (OSError, ValueError):
        library = "musl"
    words = (interpreter.implementation, _minor(interpreter.version), _machine(), library)
    return "-".join(words)


def conda_platform() -> str:
    """Where a lock with conda packages holds, which bring their own Python."""
    return "conda-{}".format(_machine())


def _machine() -> str:
    return "{}-{}".format(sys.platform, os.uname().machine)


def _own_interpreter() -> Interpreter:
    executable = getattr(sys, "_base_executable", None) or sys.executable
    version = sys.version.split()[0]
    free = "-freethreaded" if "t" in getattr(sys, "abiflags", "") else ""
    base = _trace_to_base(executable, version)
    return Interpreter(base, version, sys.implementation.name + free)


def _trace_to_base(executable: str, version: str) -> str:
    """The Python that a virtual environment was made from; real, for links to it may move."""
    for _ in range(_MOST_VENVS):
        home = _venv_home(executable)
        if home is None:
            break
        names = ("python" + _minor(version), "python3", "python")
        paths = [os.path.join(home, name) for name in names]
        executable = next((path for path in paths if os.access(path, os.X_OK)), executable)
    return os.path.realpath(executable)


def _venv_home(executable: str) -> Optional[str]:
    folder = os.path.dirname(executable)
    for place in (folder, os.path.dirname(folder)):
        try:
            with open(os.path.join(place, "pyvenv.cfg"), encoding="utf-8") as file:
                lines = [line.partition("=") for line in file]
        except (OSError, ValueError):
            continue
        for key, _, value in lines:
            if key.strip().lower() == "home":
                return value.strip()
    return None


def _fits(version: str, request: str) -> bool:
    return version == request or version.startswith(request + ".")


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _preference(interpreter: Interpreter) -> Tuple[bool, bool, List[int]]:
    is_final = interpreter.version.replace(".", "").isdigit()
    return interpreter.implementation == "cpython", is_final, _numbers(interpreter.version)


def _numbers(version: str) -> List[int]:
    return [int(part) for part in re.findall("[0-9]+", version)]


def _search(request: str) -> Iterator[Interpreter]:
    asked: Set[str] = set()
    for folder in _folders():
        for name in ("python" + _minor(request), "python3", "python"):
            path = os.path.join(folder, name)
            # Shims of one kind are links to one file that looks at its name.
            real = os.path.realpath(path)
            identity = real if os.path.basename(real).startswith("python") else path
            if identity in asked or not os.access(path, os.X_OK):
                continue
            asked.add(identity)
            found = ask_interpreter(path)
            if found is not None:
                asked.add(found.path)
                yield found


def _folders() -> List[str]:
    folders = [part for part in os.environ.get("PATH", "").split(os.pathsep) if part]
    for pattern in _USUAL_FOLDERS:
        folders += sorted(glob.glob(os.path.expanduser(pattern)))
    return list(dict.fromkeys(folders))


def _lament(request: str, found: List[Interpreter]) -> str:
    versions = sorted({one.version for one in found}, key=_numbers)
    return (
        "there is no Python {0} on this machine, which has {1}; install python{2} (or run "
        "`uv python install {0}` as this user), or change the environment's python.version"
    ).format(request, ", ".join(versions), _minor(request))


def _read_memory(memory: str) -> Dict[str, Any]:
    try:
        with open(memory, "rb") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _recall(entry: Any) -> Optional[Interpreter]:
    try:
        path, version, implementation, signature = entry
        interpreter = Interpreter(str(path), str(version), str(implementation))
        return interpreter if signature == _signature(interpreter.path) else None
    except (OSError, ValueError, TypeError):
        return None


def _signature(path: str) -> List[int]:
    found = os.stat(path)
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]


def _write_memory(memory: str, content: Dict[str, Any]) -> None:
    draft = "{}.{}".format(memory, os.urandom(8).hex())
    try:
        with open(draft, "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.replace(draft, memory)
    except OSError:  # it costs the next one a search, no more
        if os.path.exists(draft):
            os.unlink(draft)
