"""What the facts of a machine mean for jobs."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.runtime.job_agent.examination import examine
from airflow_mltrain.targets.check import Finding, FindingLevel, judge

_GB = 10**9


@pytest.fixture
def facts() -> dict[str, Any]:
    """A machine of which there is nothing to say."""
    return deepcopy(_FACTS)


def judged(facts: dict[str, Any], subject: str, skew_seconds: float | None = 0.0) -> Finding:
    """The one finding on that subject."""
    findings = judge(facts, clock_skew_seconds=skew_seconds)
    (found,) = [one for one in findings if one.subject == subject]
    return found


def test_a_machine_in_order_has_nothing_to_mend(facts: dict[str, Any]) -> None:
    # when
    findings = judge(facts, clock_skew_seconds=0.02)

    # then
    assert {one.level for one in findings} == {FindingLevel.OK}
    assert {one.remedy for one in findings} == {None}


def test_every_subject_is_told_once(facts: dict[str, Any]) -> None:
    # when
    subjects = [one.subject for one in judge(facts, clock_skew_seconds=0.02)]

    # then
    assert len(subjects) == len(set(subjects))
    assert {"machine", "python", "root folder", "disk space", "clock", "gpus"} <= set(subjects)


def test_what_this_machine_tells_of_itself_can_be_judged(tmp_path: Path) -> None:
    # given
    facts = examine(str(tmp_path), None)

    # when
    findings = judge(facts, clock_skew_seconds=None)

    # then
    assert "root folder" in {one.subject for one in findings}
    assert [one for one in findings if one.level is not FindingLevel.OK and not one.remedy] == []


@pytest.mark.parametrize(
    ("path", "value", "subject", "remedy"),
    [
        ("root", {"error": "it is a file"}, "root folder", "`root`"),
        ("root.lacks", {"write": "Permission denied"}, "root folder", "install -d .* -o alice"),
        ("root.lacks", {"link": "Operation not permitted"}, "root folder", "another folder"),
        ("root.lacks", {"lock": "No locks available"}, "root folder", "another folder"),
        ("root.lacks", {"execute": "Permission denied"}, "programs", "another folder"),
        ("root.space.free_bytes", _GB // 2, "disk space", "mltrain gc"),
        ("root.space.free_files", 12, "files", "mltrain gc"),
        ("python.version", "3.7.16", "python", "Python 3.8 or newer"),
        ("logind.kills_processes", True, "logout", "KillUserProcesses=no"),
        ("limits.processes", 50, "limits", "alice - nproc"),
        ("supervision", {"adoption": "prctl failed"}, "supervision", "kernel"),
    ],
)
def test_what_keeps_jobs_from_running_is_a_fault_with_a_remedy(
    facts: dict[str, Any], path: str, value: object, subject: str, remedy: str
) -> None:
    # given
    change(facts, path, value)

    # when
    found = judged(facts, subject)

    # then
    assert found.level is FindingLevel.FAULT
    assert found.remedy is not None
    assert re.search(remedy, found.remedy)


@pytest.mark.parametrize(
    ("path", "value", "subject", "remedy"),
    [
        ("root.mount.kind", "nfs4", "root folder", "on a disk of the machine"),
        ("root.mount.kind", "tmpfs", "root folder", "on a disk"),
        ("root.space.free_bytes", 5 * _GB, "disk space", "mltrain gc"),
        ("root.space.free_files", 20_000, "files", "mltrain gc"),
        (
            "root.quota",
            {"used_bytes": 3 * _GB, "limit_bytes": 5 * _GB},
            "disk space",
            "mltrain gc",
        ),
        ("memory.available_bytes", _GB // 2, "memory", "max_concurrent_runs"),
        ("locale.output_encoding", "iso8859-1", "locale", "LC_ALL"),
        (
            "tools",
            {"uv": None, "conda": None, "python_lacks": ["ensurepip"]},
            "environments",
            "uv",
        ),
        ("gpus.program_error", "no driver", "gpus", "driver"),
        ("gpus.closed", ["/dev/nvidia0"], "gpus", "usermod -aG .* alice"),
        ("sshd.max_startups", "2:50:10", "sshd", "MaxStartups 10:30:100"),
        ("limits.processes", 500, "limits", "alice - nproc"),
        ("limits.open_files", 256, "limits", "alice - nofile"),
        ("gpus", {"error": "no answer within 15 seconds"}, "gpus", "repeat the check"),
    ],
)
def test_what_may_harm_some_jobs_is_a_warning_with_a_remedy(
    facts: dict[str, Any], path: str, value: object, subject: str, remedy: str
) -> None:
    # given
    change(facts, path, value)

    # when
    found = judged(facts, subject)

    # then
    assert found.level is FindingLevel.WARNING
    assert found.remedy is not None
    assert re.search(remedy, found.remedy)


@pytest.mark.parametrize(
    ("path", "value", "subject", "text"),
    [
        ("gpus.cards", [], "gpus", "/dev/nvidia0"),
        ("gpus", {"cards": [], "devices": [], "closed": []}, "gpus", "none"),
        (
            "tools",
            {"uv": None, "conda": None, "python_lacks": []},
            "environments",
            "brought along",
        ),
        ("sshd", {"config": "/x", "unreadable": "Permission denied"}, "sshd", "limits unknown"),
        ("sshd.conditional", ["maxsessions"], "sshd", "Match block"),
        ("root.exists", False, "root folder", "not made yet"),
        ("root.space.free_files", None, "disk space", "on /srv"),
        ("limits", {"processes": None, "open_files": None}, "limits", "unlimited"),
    ],
)
def test_what_is_merely_worth_knowing_is_ok(
    facts: dict[str, Any], path: str, value: object, subject: str, text: str
) -> None:
    # given
    change(facts, path, value)

    # when
    found = judged(facts, subject)

    # then
    assert found.level is FindingLevel.OK
    assert text in found.text


def test_a_login_that_lingers_is_killed_all_the_same(facts: dict[str, Any]) -> None:
    # given
    change(facts, "logind.kills_processes", value=True)
    change(facts, "logind.is_lingering", value=True)

    # when
    found = judged(facts, "logout")

    # then
    assert found.level is FindingLevel.FAULT
    assert "session-3.scope" in found.text


def test_a_login_without_a_session_is_left_alone(facts: dict[str, Any]) -> None:
    # given
    change(facts, "logind.kills_processes", value=True)
    change(facts, "logind.session", None)

    # when
    found = judged(facts, "logout")

    # then
    assert found.level is FindingLevel.OK


def test_a_folder_mounted_read_only_is_to_be_mounted_anew(facts: dict[str, Any]) -> None:
    # given
    change(facts, "root.lacks", {"write": "Read-only file system"})
    change(facts, "root.space.is_read_only", value=True)

    # when
    found = judged(facts, "root folder")

    # then
    assert found.remedy is not None
    assert "mount -o remount,rw /srv" in found.remedy


def test_a_folder_mounted_noexec_is_to_be_mounted_anew(facts: dict[str, Any]) -> None:
    # given
    change(facts, "root.lacks", {"execute": "Permission denied"})
    change(facts, "root.space.is_noexec", value=True)

    # when
    found = judged(facts, "programs")

    # then
    assert found.remedy is not None
    assert "mount -o remount,exec /srv" in found.remedy


def test_who_cannot_write_for_want_of_room_is_told_to_make_some(facts: dict[str, Any]) -> None:
    # given
    change(facts, "root.lacks", {"write": "No space left on device"})
    change(facts, "root.space.free_bytes", 0)

    # when
    found = judged(facts, "root folder")

    # then
    assert found.remedy is not None
    assert "make room on /srv" in found.remedy


@pytest.mark.parametrize(
    ("skew_seconds", "text"), [(259_200.2, "3 days, 0:00:00 ahead"), (-61.0, "0:01:01 behind")]
)
def test_a_clock_that_is_wrong_is_told_by_how_much(
    facts: dict[str, Any], skew_seconds: float, text: str
) -> None:
    # when
    found = judged(facts, "clock", skew_seconds)

    # then
    assert found.level is FindingLevel.WARNING
    assert text in found.text
    assert found.remedy is not None


def test_the_clock_of_this_machine_is_not_compared_with_itself(facts: dict[str, Any]) -> None:
    # when
    findings = judge(facts, clock_skew_seconds=None)

    # then
    assert "clock" not in {one.subject for one in findings}


def test_who_did_not_come_by_sshd_hears_nothing_of_it(facts: dict[str, Any]) -> None:
    # given
    change(facts, "sshd", None)

    # when
    findings = judge(facts, clock_skew_seconds=0.0)

    # then
    assert "sshd" not in {one.subject for one in findings}


def test_findings_are_one_line_each_and_name_who_they_are_about(facts: dict[str, Any]) -> None:
    # given
    change(facts, "limits.processes", 50)

    # when
    found = judged(facts, "limits")

    # then
    assert "\n" not in f"{found.text}{found.remedy}"
    assert "alice" in str(found.remedy)


def change(facts: dict[str, Any], path: str, value: object) -> None:
    """Put something else at a dotted path."""
    *folders, name = path.split(".")
    for folder in folders:
        facts = facts[folder]
    facts[name] = value


_FACTS: dict[str, Any] = {
    "time": 1_795_478_400.0,
    "account": {"user": "alice", "uid": 1001, "home": "/home/alice", "shell": "/bin/bash"},
    "machine": {
        "hostname": "gpu-7",
        "system": "Debian GNU/Linux 12 (bookworm)",
        "kernel": "Linux 6.1.0",
        "architecture": "x86_64",
        "libc": "glibc 2.36",
        "cpu_count": 16,
        "uptime_seconds": 86_461.7,
        "boot_id": "d65092ca",
    },
    "memory": {"total_bytes": 64 * _GB, "available_bytes": 50 * _GB},
    "gpus": {
        "cards": [{"index": "0", "name": "RTX A4000", "memory": "16376 MiB", "driver": "550.54"}],
        "devices": ["/dev/nvidia0"],
        "closed": [],
    },
    "python": {"version": "3.11.2", "executable": "/usr/bin/python3"},
    "tools": {"uv": "/usr/bin/uv", "uv_version": "0.13.9", "conda": None, "python_lacks": []},
    "locale": {"variables": {}, "output_encoding": "utf-8", "path_encoding": "utf-8"},
    "limits": {"processes": 96_365, "open_files": 20_000},
    "supervision": {},
    "logind": {"session": "session-3.scope", "kills_processes": False, "is_lingering": False},
    "sshd": {
        "config": "/etc/ssh/sshd_config",
        "max_sessions": 10,
        "max_startups": "10:30:100",
        "client_alive_interval_seconds": 0,
        "client_alive_count_max": 3,
        "conditional": [],
    },
    "root": {
        "path": "/srv/mltrain",
        "exists": True,
        "mount": {"point": "/srv", "kind": "ext4", "source": "/dev/sda1"},
        "space": {
            "total_bytes": 900 * _GB,
            "free_bytes": 500 * _GB,
            "free_files": 10**7,
            "is_read_only": False,
            "is_noexec": False,
        },
        "quota": None,
        "lacks": {},
    },
}
