"""The hosts that tests log in to are like real ones, and leave nothing behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.services.jobs import is_running, wait_for
from tests.services.patience import PATIENCE_SECONDS
from tests.services.processes import run_together
from tests.services.ssh_host import SshHost

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = [
    pytest.param({}, id="plain"),
    pytest.param({"own_processes": False}, id="without processes of its own"),
    pytest.param({"own_network": True}, id="with a network of its own"),
]


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    with SshHost(home_name="my home", bashrc="echo Welcome\n") as host:
        yield host


@pytest.fixture
def far_host() -> Iterator[SshHost]:
    with SshHost(own_network=True) as host:
        yield host


def ssh(host: SshHost, *words: str, timeout_seconds: float = PATIENCE_SECONDS) -> str:
    """What OpenSSH's client prints: after options, the host's address, and a command."""
    done = subprocess.run(
        ["ssh", *_options(host), *words],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout_seconds,
    )
    return done.stdout.decode()


def _options(host: SshHost) -> list[str]:
    known = host.disk / "known_hosts"
    known.write_text(f"[{host.address}]:{host.port} {host.host_key}\n")
    if host.port == 22:
        known.write_text(f"{host.address} {host.host_key}\n")
    told = {
        "IdentityFile": host.private_key_file,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": known,
        "User": host.user,
        "BatchMode": "yes",
    }
    return ["-F", "none", *(f"-o{name}={value}" for name, value in told.items())]


def _login(host: SshHost) -> tuple[str, str, str]:
    return "-p", str(host.port), host.address


def _boot_id(host: SshHost) -> str:
    return ssh(host, *_login(host), "cat /proc/sys/kernel/random/boot_id").splitlines()[-1]


def _leave_a_process(host: SshHost) -> int:
    """A process that outlives the login of its user, who has no other."""
    ssh(host, *_login(host), "sleep 1000 >/dev/null 2>&1 </dev/null &")
    wait_for(lambda: len(host.processes()) == 1)
    (pid,) = host.processes()
    return pid


def _traces(disk: str, address: str) -> list[str]:
    """What of a host is still here: its disk, processes that name it, mounts, interfaces."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(entry.read_bytes().decode(errors="replace"))
    listed = subprocess.run(["ip", "-o", "addr"], check=True, capture_output=True).stdout.decode()
    network = address.rpartition(".")[0]
    wires = [line for line in listed.splitlines() if f" {network}." in line and " mlt" in line]
    left = [disk] if Path(disk).exists() else []
    return [*left, *wires, *(line for line in lines if disk in line)]


def test_a_user_logs_in_with_the_key_to_a_home_with_spaces_and_a_noisy_shell(
    host: SshHost,
) -> None:
    # when
    printed = ssh(host, *_login(host), "pwd; id -un; hostname")

    # then
    assert printed.splitlines() == ["Welcome", str(host.home), "trainer", host.name]


def test_the_user_cannot_look_into_the_home_of_root(host: SshHost) -> None:
    # when
    printed = ssh(host, *_login(host), "ls /root 2>/dev/null || echo refused")

    # then
    assert printed.splitlines()[-1] == "refused"


def test_a_reboot_ends_everything_and_keeps_the_disk() -> None:
    # given
    with SshHost() as host:
        before = _boot_id(host)
        sleeper = _leave_a_process(host)
        ssh(host, *_login(host), "echo kept > note")

        # when
        host.reboot()

        # then
        assert not is_running(sleeper)
        assert host.processes() == []
        assert ssh(host, *_login(host), "cat note") == "kept\n"
        assert _boot_id(host) != before


def test_a_host_whose_network_is_cut_falls_silent_until_it_is_mended(far_host: SshHost) -> None:
    # given
    words = (*_login(far_host), "echo reached")
    assert ssh(far_host, *words) == "reached\n"

    # when
    far_host.cut_network()
    with pytest.raises(subprocess.TimeoutExpired) as silence:
        ssh(far_host, *words, timeout_seconds=1.5)
    far_host.restore_network()

    # then
    assert not silence.value.stderr, "no error came, nor anything else"
    assert ssh(far_host, *words) == "reached\n"


def test_a_connection_outlives_a_cut(far_host: SshHost) -> None:
    # given
    waiting = subprocess.Popen(
        ["ssh", *_options(far_host), *_login(far_host), "read line; echo got $line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    wait_for(lambda: far_host.logins() == 1)

    # when
    far_host.cut_network()
    assert waiting.stdin is not None
    waiting.stdin.write(b"it\n")
    waiting.stdin.flush()
    far_host.restore_network()

    # then
    assert waiting.communicate(timeout=PATIENCE_SECONDS)[0] == b"got it\n"


def test_a_stopped_sshd_is_connected_to_and_never_answers(host: SshHost) -> None:
    # given
    words = (*_login(host), "echo answered")

    # when
    host.signal_sshd(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        ssh(host, *words, timeout_seconds=0.5)
    host.signal_sshd(signal.SIGCONT)

    # then
    assert ssh(host, *words).endswith("answered\n")


def test_an_sshd_that_is_killed_alone_leaves_who_is_logged_in(far_host: SshHost) -> None:
    # given
    with subprocess.Popen(
        ["ssh", *_options(far_host), *_login(far_host), "echo in; read line; echo still in"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == b"in\n"

        # when
        far_host.kill_sshd(with_sessions=False)
        with pytest.raises(subprocess.CalledProcessError):
            ssh(far_host, *_login(far_host), "true")
        printed = session.communicate(b"\n", timeout=PATIENCE_SECONDS)[0]

    # then
    assert printed == b"still in\n"
    far_host.start_sshd()
    assert ssh(far_host, *_login(far_host), "echo in again") == "in again\n"


def test_a_host_with_a_wrong_clock_shows_it() -> None:
    # given
    library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    clock = {"LD_PRELOAD": library, "FAKETIME": "+3d"}
    with SshHost(session_variables=clock) as host:
        # when
        shown = ssh(host, *_login(host), "date +%s")

    # then
    ahead = datetime.fromtimestamp(int(shown), timezone.utc) - datetime.now(timezone.utc)
    assert timedelta(days=2, hours=23) < ahead < timedelta(days=3, hours=1)


def test_a_host_is_reached_through_another(host: SshHost, far_host: SshHost) -> None:
    # given
    logins = host.logins()
    through = " ".join(
        ["ssh", *(f"'{word}'" for word in _options(host)), *_login(host), "-W", "%h:%p"]
    )

    # when
    printed = ssh(far_host, f"-oProxyCommand={through}", *_login(far_host), "hostname")

    # then
    assert printed == f"{far_host.name}\n"
    assert host.logins() == logins + 1


@pytest.mark.parametrize("options", _KINDS)
def test_a_host_leaves_nothing_behind(options: dict[str, Any]) -> None:
    # given
    with SshHost(**options) as host:
        sleeper = _leave_a_process(host)
        assert _traces(str(host.disk), host.address)

    # when
    left = _traces(str(host.disk), host.address)

    # then
    assert left == []
    wait_for(lambda: not is_running(sleeper))


@pytest.mark.parametrize("options", _KINDS)
def test_tests_that_are_killed_leave_nothing_behind(options: dict[str, Any]) -> None:
    # given
    script = (
        "import os, signal; from tests.services.ssh_host import SshHost; "
        f"host = SshHost(**{options}).__enter__(); "
        "print(host.disk, host.address, flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )

    # when
    killed = subprocess.run(
        [sys.executable, "-c", script], check=False, stdout=subprocess.PIPE, cwd=Path.cwd()
    )

    # then
    disk, address = killed.stdout.decode().split()
    assert killed.returncode == -signal.SIGKILL
    wait_for(lambda: not _traces(disk, address))


def test_hosts_of_several_test_runs_at_once_leave_each_other_alone() -> None:
    # when
    boot_ids = run_together(_boot_often, [8] * 4)

    # then
    assert len({boot_id for those in boot_ids for boot_id in those}) == 8 * 4


def _boot_often(times: int) -> list[str]:
    with SshHost() as host:
        boot_ids = []
        for _ in range(times):
            host.reboot()
            boot_ids.append(host.run("cat /proc/sys/kernel/random/boot_id"))
    return boot_ids
