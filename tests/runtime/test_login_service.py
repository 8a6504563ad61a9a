"""What sshd and systemd-logind allow, read from their own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.login_service import (
    Listener,
    look_at_logind,
    read_sshd,
    read_title,
)


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """The root folder of a machine with systemd, in a session of which this login is."""
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    write(tmp_path / "proc/self/cgroup", "0::/user.slice/user-1001.slice/session-3.scope")
    write(tmp_path / "etc/systemd/logind.conf", "[Login]", "#KillUserProcesses=no")
    return tmp_path


def test_an_sshd_that_is_told_nothing_has_its_defaults(tmp_path: Path) -> None:
    # given
    config = write(tmp_path / "sshd_config", "# MaxSessions 3", "", "Port 22")

    # when
    limits = read_sshd(Listener(str(config), {}))

    # then
    assert limits == {
        "config": str(config),
        "max_sessions": 10,
        "max_startups": "10:30:100",
        "client_alive_interval_seconds": 0,
        "client_alive_count_max": 3,
        "conditional": [],
    }


def test_what_sshd_reads_first_counts(tmp_path: Path) -> None:
    # given
    write(tmp_path / "more" / "10-first.conf", "maxsessions=4", "ClientAliveInterval 1m30s")
    write(tmp_path / "more" / "20-second.conf", "MaxSessions 5", "ClientAliveCountMax 7")
    config = write(
        tmp_path / "sshd_config",
        f'Include "{tmp_path}/more/*.conf" # all of them',
        "MaxSessions 6",
        'MaxStartups "3:50:20"',
    )

    # when
    limits = read_sshd(Listener(str(config), {"maxstartups": "2"}))

    # then
    assert limits["max_sessions"] == 4
    assert limits["max_startups"] == "2"
    assert limits["client_alive_interval_seconds"] == 90
    assert limits["client_alive_count_max"] == 7


def test_what_holds_for_some_logins_only_is_told_apart(tmp_path: Path) -> None:
    # given
    config = write(
        tmp_path / "sshd_config",
        "Match User alice",
        "MaxSessions 1",
        "PermitTTY no",
        "Match all",
        "ClientAliveCountMax 5",
    )

    # when
    limits = read_sshd(Listener(str(config), {}))

    # then
    assert limits["conditional"] == ["maxsessions"]
    assert limits["max_sessions"] == 10
    assert limits["client_alive_count_max"] == 5


def test_a_listener_s_title_tells_its_settings() -> None:
    # given
    title = (
        "sshd: /usr/sbin/sshd -D -f /srv/sshd.conf -o MaxStartups=5 [listener] 0 of 5-5 startups"
    )

    # when
    listener = read_title(title)

    # then
    assert listener == Listener("/srv/sshd.conf", {"maxstartups": "5"})


def test_a_listener_that_says_nothing_has_the_usual_settings() -> None:
    # when
    listener = read_title("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups")

    # then
    assert listener == Listener("/etc/ssh/sshd_config", {})


def test_a_machine_without_systemd_ends_nothing(tmp_path: Path) -> None:
    assert look_at_logind("alice", str(tmp_path)) is None


def test_logind_ends_nothing_unless_it_is_told_to(system: Path) -> None:
    # when
    logind = look_at_logind("alice", str(system))

    # then
    assert logind == {
        "session": "session-3.scope",
        "kills_processes": False,
        "is_lingering": False,
    }


@pytest.mark.parametrize(
    ("user", "lines", "kills"),
    [
        ("alice", ["KillUserProcesses=yes"], True),
        ("alice", ["KillUserProcesses = on", "KillOnlyUsers=bob"], False),
        ("bob", ["KillUserProcesses=1", "KillOnlyUsers=alice bob"], True),
        ("bob", ["KillUserProcesses=1", "KillExcludeUsers=alice bob"], False),
        ("root", ["KillUserProcesses=yes"], False),
        ("root", ["KillUserProcesses=yes", "KillExcludeUsers=", "KillExcludeUsers=bob"], True),
        ("alice", ["KillUserProcesses=yes", "KillUserProcesses=no"], False),
        ("alice", ["KillUserProcesses=yes", "KillUserProcesses="], False),
    ],
)
def test_logind_ends_what_its_settings_say(
    system: Path, user: str, lines: list[str], *, kills: bool
) -> None:
    # given
    write(system / "run/systemd/logind.conf.d/10-site.conf", "[Login]", *lines)

    # when
    logind = look_at_logind(user, str(system))

    # then
    assert logind is not None
    assert logind["kills_processes"] is kills


def test_a_setting_of_the_administrator_replaces_the_one_of_a_package(system: Path) -> None:
    # given
    write(system / "usr/lib/systemd/logind.conf.d/10-site.conf", "KillUserProcesses=yes")
    write(system / "etc/systemd/logind.conf.d/10-site.conf", "# as it was")

    # when
    logind = look_at_logind("alice", str(system))

    # then
    assert logind is not None
    assert not logind["kills_processes"]


def test_the_distribution_s_own_default_is_read_where_it_is_told(system: Path) -> None:
    # given
    write(system / "etc/systemd/logind.conf", "[Login]", "#KillUserProcesses=yes")

    # when
    logind = look_at_logind("alice", str(system))

    # then
    assert logind is not None
    assert logind["kills_processes"]


def test_a_login_without_a_session_is_not_ended(system: Path) -> None:
    # given
    write(system / "proc/self/cgroup", "0::/system.slice/ssh.service")

    # when
    logind = look_at_logind("alice", str(system))

    # then
    assert logind is not None
    assert logind["session"] is None


def test_a_login_that_lingers_is_known(system: Path) -> None:
    # given
    write(system / "var/lib/systemd/linger/alice", "")

    # when
    logind = look_at_logind("alice", str(system))

    # then
    assert logind is not None
    assert logind["is_lingering"]
