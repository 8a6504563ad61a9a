"""The facts of a machine that jobs depend on; nothing is judged here."""

import importlib
import os
import pwd
import resource
import shlex
import sys
import time
from typing import Any, Dict, List, Mapping, Optional

from . import process
from .gpu import look_at_gpus
from .installer.tool import find_tools
from .login_service import look_at_logind, look_at_sshd
from .probe import ProbeError, ask, look, look_at_all
from .root_folder import look_at_root

_PATIENCE_SECONDS = 15.0
_LOCALE_VARIABLES = ("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "PYTHONIOENCODING", "PYTHONUTF8")
_ENCODINGS = "import sys; print(sys.stdout.encoding, sys.getfilesystemencoding())"
_ADOPTION = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from job_agent.process import adopt_orphans; adopt_orphans()"
)
_KIB = 1024


def examine(
    root: str, uv: Optional[str], variables: Optional[Mapping[str, str]] = None
) -> Dict[str, Any]:
    """Facts by subject, as JSON data; {"error": text} for what could not be found out.

    `uv` is one that was brought along, `variables` what jobs begin with beside this process's
    environment. Takes a quarter of a minute at most, whatever hangs; changes nothing.
    """
    account = look(_account)
    user = str(account.get("user", os.getuid()))
    begun_with = dict(os.environ, **(variables or {}))
    facts = look_at_all(
        {
            "machine": _machine,
            "memory": _memory,
            "locale": lambda: _locale(begun_with),
            "python": _python,
            "tools": lambda: _tools(uv),
            "root": lambda: look_at_root(root),
            "gpus": look_at_gpus,
            "sshd": look_at_sshd,
            "logind": lambda: look_at_logind(user),
            "limits": _limits,
            "supervision": _supervision,
        },
        _PATIENCE_SECONDS,
    )
    return dict(facts, account=account, time=time.time())


def read_os_release(path: str) -> str:
    """The name of the distribution, as the file tells it; "Linux" where it tells none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.partition("=") for line in file]
    except OSError:
        return "Linux"
    names = {key.strip(): " ".join(shlex.split(value)) for key, _, value in lines if value}
    return names.get("PRETTY_NAME") or names.get("NAME") or "Linux"


def _account() -> Dict[str, Any]:
    uid = os.getuid()
    facts = {"user": str(uid), "uid": uid, "home": os.environ.get("HOME"), "shell": None}
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # a container may run as a number that nobody has
        return facts
    return dict(
        facts, user=entry.pw_name, shell=entry.pw_shell, home=facts["home"] or entry.pw_dir
    )


def _machine() -> Dict[str, Any]:
    names = os.uname()
    with open("/proc/uptime") as file:
        uptime_seconds = float(file.read().split()[0])
    return {
        "hostname": names.nodename,
        "system": read_os_release("/etc/os-release"),
        "kernel": "{} {}".format(names.sysname, names.release),
        "architecture": names.machine,
        "libc": _libc(),
        "cpu_count": len(os.sched_getaffinity(0)),
        "uptime_seconds": uptime_seconds,
        "boot_id": process.boot_id(),
    }


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "musl"
    except (OSError, ValueError):
        return "musl"


def _memory() -> Dict[str, int]:
    with open("/proc/meminfo") as file:
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in file}
    return {
        "total_bytes": sizes["MemTotal"] * _KIB,
        "available_bytes": sizes["MemAvailable"] * _KIB,
    }


def _locale(variables: Mapping[str, str]) -> Dict[str, Any]:
    """How a script's Python writes text, with the variables it begins with."""
    answer = ask([sys.executable, "-s", "-S", "-c", _ENCODINGS], variables)
    if answer.exit_code != 0:
        raise ProbeError(answer.complaint.strip())
    output_encoding, path_encoding = answer.output.split()
    return {
        "variables": {name: variables[name] for name in _LOCALE_VARIABLES if name in variables},
        "output_encoding": output_encoding,
        "path_encoding": path_encoding,
    }


def _python() -> Dict[str, str]:
    return {
        "executable": sys.executable,
        "version": sys.version.split()[0],
    }


def _tools(brought_uv: Optional[str]) -> Dict[str, Any]:
    tools = find_tools(brought_uv)
    words: List[str] = [] if tools.uv is None else ask([tools.uv, "--version"]).output.split()
    return {
        "uv": tools.uv,
        "uv_version": words[1] if len(words) > 1 else None,
        "conda": tools.conda,
        "python_lacks": [name for name in ("venv", "ensurepip") if not _can_import(name)],
    }


def _can_import(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001  # a module that cannot be imported, for whatever reason
        return False
    return True


def _limits() -> Dict[str, Optional[int]]:
    """How many there may be; None for no limit."""
    soft = {
        "processes": resource.getrlimit(resource.RLIMIT_NPROC)[0],
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }
    return {name: None if one == resource.RLIM_INFINITY else one for name, one in soft.items()}


def _supervision() -> Dict[str, str]:
    """What does not work of the kernel's means to supervise a job, with the reason."""
    attempts = {"identity": _know_itself, "memory_file": _make_memory_file, "adoption": _adopt}
    found = {name: look(attempt) for name, attempt in attempts.items()}
    return {name: failure["error"] for name, failure in found.items() if failure is not None}


def _know_itself() -> None:
    process.identity()


def _make_memory_file() -> None:
    os.close(os.memfd_create("mltrain"))


def _adopt() -> None:
    # In a process of its own: this one would adopt what its jobs leave behind.
    runtime = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    answer = ask([sys.executable, "-I", "-S", "-c", _ADOPTION, runtime])
    if answer.exit_code != 0:
        raise ProbeError((answer.complaint.strip().splitlines() or ["no reason given"])[-1])
