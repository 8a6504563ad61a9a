"""From the facts of a root folder and its file system to what they mean for jobs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from airflow_mltrain.targets.finding import Finding, FindingLevel

_ELSEWHERE: Final = "name another folder as `root` in the compute target's settings"
_FAULT_BYTES, _WARNING_BYTES = 10**9, 10 * 10**9
_FAULT_FILES, _WARNING_FILES = 1_000, 100_000
_OF_THE_NETWORK: Final = ("9p", "afs", "ceph", "cifs", "nfs", "nfs4", "smb3")
_IN_MEMORY: Final = ("ramfs", "tmpfs")
_MEANS: Final = {
    "write": "files cannot be written",
    "link": "hard links do not work",
    "lock": "file locks (flock) do not work",
    "rename": "a file cannot take another one's place",
    "reserve": "space cannot be reserved",
    "symlink": "symbolic links do not work",
}


def judge_root(facts: Mapping[str, Any], user: str) -> Iterator[Finding]:
    """Findings on the folder, on running programs in it, and on the space that is left."""
    if "error" in facts:
        text = f"cannot be used: {facts['error']}"
        remedy = f"mend that for the login {user}, or {_ELSEWHERE}"
        yield Finding("root folder", FindingLevel.FAULT, text, remedy)
        return
    yield _judge_use(facts, user)
    if "write" not in facts["lacks"]:
        yield from _judge_programs(facts)
    if "error" not in facts["space"]:
        yield _judge_space(facts)
        yield from _judge_files(facts)


def _judge_use(facts: Mapping[str, Any], user: str) -> Finding:
    mount, lacks, path = facts["mount"], facts["lacks"], facts["path"]
    kind = mount.get("kind", "an unknown file system")
    where = f"{path} on {kind}" + ("" if facts["exists"] else ", not made yet")
    missing = [f"{_MEANS[name]} ({why})" for name, why in lacks.items() if name in _MEANS]
    if missing:
        text = f"{where}: {'; '.join(missing)}"
        remedy = _remedy_for_writing(facts, user) if "write" in lacks else _ELSEWHERE
        return Finding("root folder", FindingLevel.FAULT, text, remedy)
    if kind in _OF_THE_NETWORK:
        text = f"{where}: runs start and environments are built more slowly there"
        remedy = f"{_ELSEWHERE}, one on a disk of the machine"
        return Finding("root folder", FindingLevel.WARNING, text, remedy)
    if kind in _IN_MEMORY:
        text = f"{where}: runs and environments are lost when the machine restarts"
        remedy = f"{_ELSEWHERE}, one on a disk"
        return Finding("root folder", FindingLevel.WARNING, text, remedy)
    return Finding("root folder", FindingLevel.OK, f"{where}, writable", None)


def _remedy_for_writing(facts: Mapping[str, Any], user: str) -> str:
    path, point = shlex.quote(facts["path"]), _point(facts)
    if facts["space"].get("is_read_only"):
        return f"as root there: `mount -o remount,rw {point}`, or {_ELSEWHERE}"
    if _free_bytes(facts) == 0:
        return f"make room on {point}, or {_ELSEWHERE}"
    return f"as root there: `install -d -m 700 -o {user} {path}`, or {_ELSEWHERE}"


def _judge_programs(facts: Mapping[str, Any]) -> Iterator[Finding]:
    why = facts["lacks"].get("execute")
    if why is None:
        return
    point = _point(facts)
    is_noexec = facts["space"].get("is_noexec")
    text = f"cannot run from the root folder: {why}"
    if is_noexec:
        text += f"; {point} is mounted noexec"
    remedy = f"as root there: `mount -o remount,exec {point}`, or {_ELSEWHERE}"
    yield Finding("programs", FindingLevel.FAULT, text, remedy if is_noexec else _ELSEWHERE)


def _judge_space(facts: Mapping[str, Any]) -> Finding:
    quota, total = facts["quota"] or {}, facts["space"]["total_bytes"]
    free = _free_bytes(facts)
    text = f"{_size(free)} of {_size(total)} free on {facts['mount'].get('point', '/')}"
    if quota.get("limit_bytes") is not None:
        text += (
            f"; the quota is {_size(quota['limit_bytes'])}, "
            f"{_size(quota['used_bytes'])} of it used"
        )
    level = _level(free, _FAULT_BYTES, _WARNING_BYTES)
    return Finding("disk space", level, text, _remedy_for_room(level))


def _judge_files(facts: Mapping[str, Any]) -> Iterator[Finding]:
    quota, free = facts["quota"] or {}, facts["space"]["free_files"]
    if quota.get("limit_files") is not None:
        left = max(0, quota["limit_files"] - quota["used_files"])
        free = left if free is None else min(free, left)
    if free is None:
        return
    level = _level(free, _FAULT_FILES, _WARNING_FILES)
    if level is not FindingLevel.OK:
        text = f"only {free:,} more can be made; an environment has tens of thousands"
        yield Finding("files", level, text, _remedy_for_room(level))


def _point(facts: Mapping[str, Any]) -> str:
    return shlex.quote(facts["mount"].get("point", "/"))


def _free_bytes(facts: Mapping[str, Any]) -> int:
    quota, free = facts["quota"] or {}, int(facts["space"].get("free_bytes", 0))
    if quota.get("limit_bytes") is not None:
        free = min(free, quota["limit_bytes"] - quota["used_bytes"])
    return max(0, free)


def _level(free: int, fault: int, warning: int) -> FindingLevel:
    if free < fault:
        return FindingLevel.FAULT
    return FindingLevel.WARNING if free < warning else FindingLevel.OK


def _remedy_for_room(level: FindingLevel) -> str | None:
    if level is FindingLevel.OK:
        return None
    return (
        "remove unused environments (`mltrain gc --target NAME --max-gigabytes 0`) or other "
        f"files, or {_ELSEWHERE}"
    )


def _size(size_bytes: int) -> str:
    gigabytes = size_bytes / 1e9
    return f"{gigabytes:,.1f} GB" if gigabytes >= 1 else f"{size_bytes / 1e6:,.1f} MB"
