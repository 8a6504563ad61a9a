"""From the facts of a machine to what they mean for jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from airflow_mltrain.targets.finding import (
    Finding,
    FindingLevel,
    has_fault,
    summarize,
    unreachable,
)
from airflow_mltrain.targets.root_check import judge_root

__all__ = ["Finding", "FindingLevel", "has_fault", "judge", "summarize", "unreachable"]

_OK, _WARNING, _FAULT = FindingLevel.OK, FindingLevel.WARNING, FindingLevel.FAULT
_LEAST_MEMORY_BYTES: Final = 10**9
_OLDEST_PYTHON: Final = (3, 8)
_NOTICED_SKEW_SECONDS: Final = 5.0
_HANDSHAKES_AT_ONCE: Final = 6  # that one submitting machine makes
_FAULT_PROCESSES, _WARNING_PROCESSES = 64, 1024
_LEAST_OPEN_FILES: Final = 512
_VARIABLES: Final = "`environment_variables` in the compute target's settings"


def judge(facts: Mapping[str, Any], *, clock_skew_seconds: float | None) -> tuple[Finding, ...]:
    """Findings on what the job agent's `examine` told; every one that is not ok has a remedy.

    Of what is not among the facts nothing is said.

    `clock_skew_seconds` is how far the machine's clock is ahead; None where it is this machine's.
    """
    user = str(facts.get("account", {}).get("user", "of these settings"))
    found: list[Finding] = []
    for subject, (name, judge_one) in _SUBJECTS.items():
        content = facts.get(name)
        if content is None:
            continue
        if "error" in content:
            found.append(_unknown(subject, content["error"]))
        else:
            found.extend(judge_one(content, user))
    if facts.get("root") is not None:
        found.extend(judge_root(facts["root"], user))
    if clock_skew_seconds is not None:
        found.append(_judge_clock(clock_skew_seconds))
    return tuple(found)


def _unknown(subject: str, error: str) -> Finding:
    remedy = "repeat the check; if it stays so, log in there and see what hangs or fails"
    return Finding(subject, _WARNING, f"could not be looked at: {error}", remedy)


def _judge_account(facts: Mapping[str, Any], user: str) -> Iterator[Finding]:
    text = f"{user} (uid {facts['uid']}), home {facts['home']}, shell {facts['shell']}"
    yield Finding("account", _OK, text, None)


def _judge_machine(facts: Mapping[str, Any], _: str) -> Iterator[Finding]:
    uptime = timedelta(seconds=int(facts["uptime_seconds"]))
    text = (
        f"{facts['hostname']}: {facts['system']}, {facts['kernel']} ({facts['architecture']}), "
        f"{facts['libc']}, {facts['cpu_count']} CPUs, up {uptime}"
    )
    yield Finding("machine", _OK, text, None)


def _judge_memory(facts: Mapping[str, Any], _: str) -> Iterator[Finding]:
    available, total = facts["available_bytes"], facts["total_bytes"]
    text = f"{available / 1e9:.1f} GB of {total / 1e9:.1f} GB available"
    if available >= _LEAST_MEMORY_BYTES:
        yield Finding("memory", _OK, text, None)
        return
    remedy = (
        "end what takes it (`ps aux --sort=-rss | head`), or set `max_concurrent_runs` in the "
        "compute target's settings"
    )
    yield Finding("memory", _WARNING, text, remedy)


def _judge_locale(facts: Mapping[str, Any], _: str) -> Iterator[Finding]:
    encodings = (facts["output_encoding"], facts["path_encoding"])
    if all(one.lower().replace("-", "") == "utf8" for one in encodings):
        yield Finding("locale", _OK, "scripts write UTF-8", None)
        return
    given = ", ".join(f"{name}={value}" for name, value in facts["variables"].items())
    text = (
        f"scripts print {encodings[0]} and name files in {encodings[1]} ({given or 'no locale'})"
    )
    yield Finding("locale", _WARNING, text, f"put LC_ALL with the value C.UTF-8 into {_VARIABLES}")


def _judge_python(facts: Mapping[str, Any], _: str) -> Iterator[Finding]:
    version = facts["version"]
    text = f"Python {version} ({facts['executable']})"
    if tuple(int(part) for part in version.split(".")[:2]) >= _OLDEST_PYTHON:
        yield Finding("python", _OK, text, None)
        return
    remedy = (
        "install Python 3.8 or newer there, and name it as `python` in the compute target's "
        "settings"
    )
    yield Finding("python", _FAULT, f"{text} is too old", remedy)


def _judge_gpus(facts: Mapping[str, Any], user: str) -> Iterator[Finding]:
    cards = [f"{one['name']} ({one['memory']}, driver {one['driver']})" for one in facts["cards"]]
    text = "; ".join(cards) or ", ".join(facts["devices"]) or "none"
    if "program_error" in facts:
        remedy = "restart the host after a change of the driver, or install the driver anew"
        words = f"{text}; nvidia-smi failed: {facts['program_error']}"
        yield Finding("gpus", _WARNING, words, remedy)
    elif facts["closed"]:
        first = facts["closed"][0]
        remedy = (
            f"as root there: `usermod -aG $(stat -c %G {first}) {user}`, then log in anew (or end "
            f"the job agents of {user})"
        )
        words = f"{text}; {user} may not use {', '.join(facts['closed'])}"
        yield Finding("gpus", _WARNING, words, remedy)
    else:
        yield Finding("gpus", _OK, text, None)


def _judge_sshd(facts: Mapping[str, Any], _: str) -> Iterator[Finding]:
    if "unreadable" in facts:
        yield Finding("sshd", _OK, f"limits unknown: {facts['unreadable']}", None)
        return
    text = (
        f"MaxSessions {facts['max_sessions']}, MaxStartups {facts['max_startups']}, "
        f"ClientAliveInterval {facts['client_alive_interval_seconds']} s, "
        f"ClientAliveCountMax {facts['client_alive_count_max']} ({facts['config']})"
    )
    if facts["conditional"]:
        text += f"; a Match block may say otherwise: {', '.join(facts['conditional'])}"
    if int(facts["max_startups"].partition(":")[0]) >= _HANDSHAKES_AT_ONCE:
        yield Finding("sshd", _OK, text, None)
        return
    remedy = (
        f"as root there: set `MaxStartups 10:30:100` in {facts['config']} and reload sshd "
        "(`systemctl reload ssh`)"
    )
    words = f"{text}: some of several logins at once are refused, and have to be tried again"
    yield Finding("sshd", _WARNING, words, remedy)


def _judge_logind(facts: Mapping[str, Any], user: str) -> Iterator[Finding]:
    if not facts["kills_processes"] or facts["session"] is None:
        yield Finding("logout", _OK, "runs outlive the connection", None)
        return
    # Lingering keeps services of the user, and nothing of a session.
    remedy = (
        "as root there: put `KillUserProcesses=no`, or the login's name into `KillExcludeUsers=`, "
        "into /etc/systemd/logind.conf below [Login], then `systemctl restart systemd-logind`; "
        f"lingering (`loginctl enable-linger {user}`) is not enough"
    )
    text = f"systemd-logind kills runs when the connection ends ({facts['session']})"
    yield Finding("logout", _FAULT, text, remedy)


def _judge_limits(facts: Mapping[str, Any], user: str) -> Iterator[Finding]:
    processes, files = facts["processes"], facts["open_files"]
    text = f"{_count(processes)} processes and threads, {_count(files)} open files"
    if processes is not None and processes < _WARNING_PROCESSES and user != "root":
        level = _FAULT if processes < _FAULT_PROCESSES else _WARNING
        item, value = "nproc", _WARNING_PROCESSES * 4
    elif files is not None and files < _LEAST_OPEN_FILES:
        level, item, value = _WARNING, "nofile", 4096
    else:
        yield Finding("limits", _OK, text, None)
        return
    remedy = (
        f"as root there: add `{user} - {item} {value}` to /etc/security/limits.conf, which the "
        "next login has"
    )
    yield Finding("limits", level, f"{text}: too few for numerical libraries", remedy)


def _judge_tools(facts: Mapping[str, Any], _: str) -> Iterator[Finding]:
    conda = f"; conda packages with {facts['conda']}" if facts["conda"] else ""
    if facts["uv"]:
        text = f"built by uv {facts['uv_version']} ({facts['uv']})"
        yield Finding("environments", _OK, text + conda, None)
        return
    brought = "no uv is installed there; it is brought along when it is needed"
    if not facts["python_lacks"]:
        text = f"{brought}, and where it does not run, venv and pip do"
        yield Finding("environments", _OK, text + conda, None)
        return
    text = f"{brought}, but where it does not run nothing else does: Python has no "
    text += " and no ".join(facts["python_lacks"])
    remedy = (
        "install uv for that login, or Python's venv module (on Debian and Ubuntu `apt-get "
        "install python3-venv`, as root)"
    )
    yield Finding("environments", _WARNING, text + conda, remedy)


def _judge_supervision(facts: Mapping[str, Any], _: str) -> Iterator[Finding]:
    if not facts:
        yield Finding("supervision", _OK, "the kernel offers what supervising a run needs", None)
        return
    text = "; ".join(f"{_MEANS[name]}: {why}" for name, why in facts.items())
    remedy = (
        "give the login a Linux with kernel 3.17 or newer and a /proc of its own (in a container, "
        "without a seccomp profile that forbids prctl and memfd_create)"
    )
    yield Finding("supervision", _FAULT, text, remedy)


def _judge_clock(skew_seconds: float) -> Finding:
    if abs(skew_seconds) <= _NOTICED_SKEW_SECONDS:
        return Finding("clock", _OK, f"right within {max(abs(skew_seconds), 0.1):.1f} s", None)
    way = "ahead" if skew_seconds > 0 else "behind"
    span = timedelta(seconds=round(abs(skew_seconds)))
    text = f"{span} {way}; the times of runs are shown as this machine's clock has them"
    remedy = "as root there: `timedatectl set-ntp true`, or set up chrony"
    return Finding("clock", _WARNING, text, remedy)


def _count(limit: int | None) -> str:
    return "unlimited" if limit is None else f"{limit:,}"


_MEANS: Final = {
    "identity": "/proc does not show processes",
    "memory_file": "memfd_create does not work",
    "adoption": "PR_SET_CHILD_SUBREAPER does not work",
}
_Judge = Callable[[Mapping[str, Any], str], Iterator[Finding]]
_SUBJECTS: Final[Mapping[str, tuple[str, _Judge]]] = {
    "account": ("account", _judge_account),
    "machine": ("machine", _judge_machine),
    "memory": ("memory", _judge_memory),
    "gpus": ("gpus", _judge_gpus),
    "python": ("python", _judge_python),
    "environments": ("tools", _judge_tools),
    "locale": ("locale", _judge_locale),
    "limits": ("limits", _judge_limits),
    "supervision": ("supervision", _judge_supervision),
    "logout": ("logind", _judge_logind),
    "sshd": ("sshd", _judge_sshd),
}
