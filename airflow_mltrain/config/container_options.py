"""The flags of `docker run` that an environment may ask for, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from airflow_mltrain.config.fault import describe
from airflow_mltrain.config.size import parse_size

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
_ULIMIT = re.compile(r"([a-z]+)=(-1|[0-9]{1,18})(?::(-1|[0-9]{1,18}))?")
_ULIMIT_NAMES: Final = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack"),
)
_UNLIMITED: Final = -1
_ASK_OWNER: Final = (
    "is for whoever owns the compute target to allow; "
    "ask for it in the compute target's connection"
)


@dataclass(frozen=True)
class ContainerOptions:
    """What a container gets beside its image; None and empty is what the engine does anyway.

    A ulimit is (name, soft, hard), -1 being unlimited; a host is (name, address), where the
    address may be `host-gateway`; a tmpfs is the path that it is mounted at.
    """

    shm_size_bytes: int
    network: str | None = None
    user: str | None = None
    ipc: str | None = None
    runtime: str | None = None
    ulimits: tuple[tuple[str, int, int], ...] = ()
    add_hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()


def parse_arguments(arguments: Iterable[str | float]) -> dict[str, Any]:
    """The fields of ContainerOptions that flags give; raises ValueError with the remedy.

    No message shows the value of a flag that is not understood, for it may be a secret.
    """
    fields: dict[str, Any] = {}
    for flag, value in _list_flags(map(str, arguments)):
        meaning = _FLAGS[flag]
        try:
            found = meaning.parse(value)
        except ValueError as error:
            raise ValueError(f"{flag} {describe(value)} in it: {error}") from None
        if meaning.may_repeat:
            fields[meaning.field] = (*fields.get(meaning.field, ()), found)
        elif meaning.field in fields:
            raise ValueError(f"{flag} should be in it once")
        else:
            fields[meaning.field] = found
    return fields


def _list_flags(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    waiting = iter(words)
    for word in waiting:
        flag, value = _split(word)
        if flag not in _FLAGS:
            raise ValueError(_describe_refusal(flag))
        if value is None:
            value = next(waiting, None)
        if value is None:
            raise ValueError(f"{flag} should be followed by its value")
        yield flag, value


def _split(word: str) -> tuple[str, str | None]:
    if word.startswith("--"):
        flag, equals, value = word.partition("=")
        name, *rest = flag.split() or [flag]
        if rest and name in _FLAGS:
            raise ValueError(f"{name} and its value should be two items of it, or {name}=VALUE")
        return name, value if equals else None
    if word.startswith("-") and len(word) > 1:
        return word[:2], word[2:].removeprefix("=") if len(word) > len("-u") else None
    raise ValueError("each item should be a flag or the value right behind one, such as '--user'")


def _describe_refusal(flag: str) -> str:
    for flags, advice in _ADVICE:
        if flag in flags:
            return f"{flag} in it {advice}"
    return f"{describe(flag)} in it is not understood; what is: {', '.join(sorted(_FLAGS))}"


def _parse_network(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("it should be the name of a network, such as 'bridge', 'host' or 'none'")
    return text


def _parse_user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise ValueError("it should be a user's name or number, and perhaps ':' and a group's")
    return text


def _parse_ipc(text: str) -> str:
    if text == "host":
        raise ValueError(f"the host's shared memory {_ASK_OWNER}")
    if text not in ("private", "shareable", "none"):
        raise ValueError("it should be 'private', 'shareable' or 'none'")
    return text


def _parse_runtime(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("it should be the name of a runtime of the engine, such as 'nvidia'")
    return text


def _parse_ulimit(text: str) -> tuple[str, int, int]:
    match = _ULIMIT.fullmatch(text)
    if match is None:
        raise ValueError("it should be a limit such as 'nofile=1024:2048'; -1 is unlimited")
    if match[1] not in _ULIMIT_NAMES:
        raise ValueError(f"it should begin with one of {', '.join(_ULIMIT_NAMES)}")
    soft = int(match[2])
    hard = int(match[3] or soft)
    if hard != _UNLIMITED and not 0 <= soft <= hard:
        raise ValueError("its soft limit, the first, should not be above its hard limit")
    return match[1], soft, hard


def _parse_host(text: str) -> tuple[str, str]:
    name, _, address = text.replace("=", ":", 1).partition(":")
    if not _NAME.fullmatch(name):
        raise ValueError("it should be a host and its address, such as 'storage:10.0.0.7'")
    return name, address if address == "host-gateway" else _parse_address(address)


def _parse_address(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ip_address(bare))
    except ValueError:
        raise ValueError("its address should be one of IPv4 or IPv6, such as '10.0.0.7'") from None


def _parse_mount_point(text: str) -> str:
    path = PurePosixPath(text)
    if ":" in text:
        raise ValueError("it should be the path alone, without options")
    if not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/"):
        raise ValueError("it should be an absolute path in the container, such as '/scratch'")
    return str(path)


class _Flag(NamedTuple):
    field: str
    parse: Callable[[str], object]
    may_repeat: bool = False


_FLAGS: Final[Mapping[str, _Flag]] = MappingProxyType(
    {
        "--shm-size": _Flag("shm_size_bytes", parse_size),
        "--network": _Flag("network", _parse_network),
        "--net": _Flag("network", _parse_network),
        "--user": _Flag("user", _parse_user),
        "-u": _Flag("user", _parse_user),
        "--ipc": _Flag("ipc", _parse_ipc),
        "--runtime": _Flag("runtime", _parse_runtime),
        "--ulimit": _Flag("ulimits", _parse_ulimit, may_repeat=True),
        "--add-host": _Flag("add_hosts", _parse_host, may_repeat=True),
        "--dns": _Flag("dns", _parse_address, may_repeat=True),
        "--tmpfs": _Flag("tmpfs", _parse_mount_point, may_repeat=True),
    }
)

_ADVICE: Final = (
    (
        ("-e", "--env", "--env-file"),
        "should be left out; give environment_variables, of the environment or of run_config",
    ),
    (
        (
            *("-m", "--memory", "--memory-swap", "--memory-reservation", "--cpus", "--gpus"),
            *("-c", "--cpu-shares", "--cpu-quota", "--cpu-period", "--cpuset-cpus"),
        ),
        "should be left out; give cpus, memory and gpus in run_config.resources",
    ),
    (
        (
            *("-v", "--volume", "--mount", "--volumes-from", "--privileged", "--device"),
            *("--device-cgroup-rule", "--cap-add", "--security-opt", "--pid", "--uts", "--userns"),
            *("--cgroupns", "--cgroup-parent", "--sysctl", "-p", "--publish", "--publish-all"),
            *("-P", "--oom-score-adj", "--oom-kill-disable"),
        ),
        _ASK_OWNER,
    ),
    (
        (
            *("--name", "--rm", "-d", "--detach", "-i", "--interactive", "-t", "--tty", "--init"),
            *("-w", "--workdir", "--entrypoint", "--restart", "--cidfile", "-l", "--label"),
            *("--log-driver", "--log-opt", "--pull", "-h", "--hostname", "--stop-signal"),
        ),
        "should be left out; the compute target sees to it",
    ),
)
