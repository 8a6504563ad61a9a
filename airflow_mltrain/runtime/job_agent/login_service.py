"""What sshd and systemd-logind on this machine allow, and what they do to who logs out."""

import glob
import os
import re
import shlex
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

_SSH_FOLDER = "/etc/ssh"
_SSHD_DEFAULTS = {
    "maxsessions": "10",
    "maxstartups": "10:30:100",
    "clientaliveinterval": "0",
    "clientalivecountmax": "3",
}
_MOST_INCLUDES = 16  # one inside the other, as sshd has it
_LISTENER = re.compile(r"sshd: (.*) \[listener\]")
_OPTION = re.compile(r" -o ?(\w+)[= ](\S+)")
_CONFIG = re.compile(r" -f ?(\S+)")
_SPAN = re.compile(r"(\d+)([smhdw]?)")
_SPAN_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LOGIND_FOLDERS = ("usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd")
_SESSION = re.compile(r"/(session-[^/]*\.scope)(/|$)", re.MULTILINE)
_YES = ("1", "yes", "y", "true", "t", "on")


class Listener(NamedTuple):
    """The sshd that this process descends from: its settings' file, and what overrules it."""

    config: str
    options: Dict[str, str]


def look_at_sshd() -> Optional[Dict[str, Any]]:
    """The limits of the sshd that let this process in; None where none did.

    A limit is None where this login may not read the settings.
    """
    listener = find_listener()
    if listener is None:
        if "SSH_CONNECTION" not in os.environ:
            return None
        listener = Listener(os.path.join(_SSH_FOLDER, "sshd_config"), {})
    try:
        return read_sshd(listener)
    except OSError as error:
        return {"config": listener.config, "unreadable": str(error)}


def find_listener() -> Optional[Listener]:
    """The sshd that this process descends from, which tells its command line in its title."""
    pid = os.getppid()
    while pid > 0:
        try:
            with open("/proc/{}/cmdline".format(pid), "rb") as file:
                title = file.read().replace(b"\0", b" ").decode(errors="replace")
            with open("/proc/{}/stat".format(pid), "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            return None
        if _LISTENER.match(title):
            return read_title(title)
    return None


def read_title(title: str) -> Listener:
    """The listener whose title that is."""
    config = _CONFIG.search(title)
    options = {name.lower(): value for name, value in _OPTION.findall(title)}
    default = os.path.join(_SSH_FOLDER, "sshd_config")
    return Listener(config.group(1) if config else default, options)


def read_sshd(listener: Listener) -> Dict[str, Any]:
    """Its limits, as its files tell them; OSError where one cannot be read."""
    found = dict(listener.options)
    conditional: Set[str] = set()
    for keyword, value, is_conditional in _sshd_lines(listener.config, _MOST_INCLUDES):
        if is_conditional:
            conditional.add(keyword)
        else:
            found.setdefault(keyword, value)  # the first one counts
    chosen = {name: found.get(name, default) for name, default in _SSHD_DEFAULTS.items()}
    return {
        "config": listener.config,
        "max_sessions": int(chosen["maxsessions"]),
        "max_startups": chosen["maxstartups"],
        "client_alive_interval_seconds": _seconds(chosen["clientaliveinterval"]),
        "client_alive_count_max": int(chosen["clientalivecountmax"]),
        "conditional": sorted(conditional & set(_SSHD_DEFAULTS)),  # for some logins only
    }


def look_at_logind(user: str, system: str = "/") -> Optional[Dict[str, Any]]:
    """Whether systemd-logind ends what this login leaves running; None without systemd.

    `session` is the unit whose processes it would end; None where the login has none, and is left
    alone.
    """
    if not os.path.isdir(os.path.join(system, "run/systemd/system")):
        return None
    with open(os.path.join(system, "proc/self/cgroup"), encoding="utf-8") as file:
        session = _SESSION.search(file.read())
    settings = _logind_settings(system)
    kills = [one.lower() in _YES for one in settings["KillUserProcesses"]][-1:] == [True]
    only, excluded = settings["KillOnlyUsers"], settings["KillExcludeUsers"]
    is_concerned = user not in excluded and (not only or user in only)
    return {
        "session": session.group(1) if session else None,
        "kills_processes": kills and is_concerned,
        "is_lingering": os.path.exists(os.path.join(system, "var/lib/systemd/linger", user)),
    }


def _sshd_lines(path: str, depth: int) -> Iterator[Tuple[str, str, bool]]:
    """Keyword, value, and whether it stands in a Match block that is not for all."""
    is_conditional = False
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    for line in lines:
        words = re.split(r"[\s=]+", line.strip(), maxsplit=1)
        keyword, rest = words[0].lower(), words[1] if len(words) > 1 else ""
        if not keyword or keyword.startswith("#"):
            continue
        values = _split(rest)
        if keyword == "match":
            is_conditional = [value.lower() for value in values] != ["all"]
        elif keyword == "include" and depth > 0:
            for included in _included(values):
                for name, value, is_inner in _sshd_lines(included, depth - 1):
                    yield name, value, is_inner or is_conditional
        elif values:
            yield keyword, values[0], is_conditional


def _included(patterns: List[str]) -> Iterator[str]:
    for pattern in patterns:
        yield from sorted(glob.glob(os.path.join(_SSH_FOLDER, pattern)))


def _split(text: str) -> List[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:  # a quote that is not closed; sshd would not have started with it
        return text.split()


def _seconds(text: str) -> int:
    return sum(int(number) * _SPAN_SECONDS[unit] for number, unit in _SPAN.findall(text.lower()))


def _logind_settings(system: str) -> Dict[str, List[str]]:
    """What is set last counts; lists add up, and an empty one begins anew."""
    settings = {"KillUserProcesses": ["no"], "KillOnlyUsers": [], "KillExcludeUsers": ["root"]}
    main = [os.path.join(system, folder, "logind.conf") for folder in _LOGIND_FOLDERS]
    main = [path for path in main if os.path.exists(path)][-1:]
    drop_ins = {}
    for folder in _LOGIND_FOLDERS:
        for path in glob.glob(os.path.join(system, folder, "logind.conf.d", "*.conf")):
            drop_ins[os.path.basename(path)] = path
    for path in [*main, *(drop_ins[name] for name in sorted(drop_ins))]:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file]
        for line in lines:
            # The file as it is shipped tells in a comment what the distribution was built with.
            is_default = path in main and line.startswith("#KillUserProcesses=")
            name, _, value = (line[1:] if is_default else line).partition("=")
            if name.strip() in settings:
                kept = settings[name.strip()] if value.strip() else []
                settings[name.strip()] = [*kept, *value.split()]
    return settings
