"""Real SSH hosts for tests: machines made of namespaces, each with an sshd of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from scripts.free_port import find_free_port
from tests.services.host_disk import (
    OWN_FILES,
    USER,
    USER_ID,
    HostOptions,
    make_disk,
    write_configuration,
)
from tests.services.machine import Machine
from tests.services.patience import PATIENCE_SECONDS
from tests.services.requirement import require

if TYPE_CHECKING:
    from typing_extensions import Self

_PROGRAMS = ("/usr/sbin/sshd", "ssh-keygen", "ip", "unshare", "nsenter", "setsid")


class SshHost:
    """A machine with one user, who exists nowhere else, and an sshd on loopback or its own wire.

    Its disk is a folder of this machine, under the same path; its processes are in namespaces, and
    die together. Use it as a context manager; it needs root and ends the test without.
    """

    def __init__(self, **options: Any) -> None:
        self.options = HostOptions(**options)
        self.user = USER
        self.name = f"host-{uuid4().hex[:8]}"

    def __enter__(self) -> Self:
        _require_programs()
        self._machine = Machine(
            own_network=self.options.own_network, own_processes=self.options.own_processes
        )
        self.disk = self._machine.disk
        try:
            make_disk(self.disk, self.home, self.options.bashrc)
            if self._machine.wire is not None:
                self.address, self.port = self._machine.wire.far_address, 22
            else:
                self.address, self.port = "127.0.0.1", find_free_port()
            write_configuration(self.disk, self.home, self.options, (self.address, self.port))
            self.power_on()
        except BaseException:
            self._machine.discard()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._machine.discard()

    @property
    def home(self) -> Path:
        """The user's home."""
        return self.disk / self.options.home_name

    @property
    def log(self) -> str:
        """What sshd said."""
        return (self.disk / "sshd.log").read_text(errors="replace")

    @property
    def private_key_file(self) -> Path:
        """The key that the host lets in."""
        return self.disk / "user_key"

    @property
    def private_key(self) -> str:
        """Its text."""
        return self.private_key_file.read_text()

    @property
    def host_key(self) -> str:
        """The public host key: type and data."""
        return " ".join((self.disk / "host_key.pub").read_text().split()[:2])

    def connection(self, **extra: Any) -> dict[str, Any]:
        """An Airflow connection to the host; `extra` adds to its extra, None takes away."""
        told = {"private_key": self.private_key, "host_key": self.host_key, **extra}
        return {
            "conn_type": "ssh",
            "host": self.address,
            "port": self.port,
            "login": self.user,
            "extra": {name: value for name, value in told.items() if value is not None},
        }

    def connection_json(self, **extra: Any) -> str:
        """The same, as a variable AIRFLOW_CONN_<ID> holds it."""
        return json.dumps(self.connection(**extra))

    def make_shared_folder(self) -> Path:
        """A new folder of this disk in which the tests and the user may write."""
        folder = self.disk / f"shared-{uuid4().hex[:8]}"
        folder.mkdir()
        folder.chmod(0o777)
        os.chown(folder, USER_ID, USER_ID)
        return folder

    def power_on(self) -> None:
        """Start the machine, under a boot id of its own, and its sshd."""
        (self.disk / "boot_id").write_text(f"{uuid4()}\n")
        self._machine.power_on(self._setup())
        self.start_sshd()

    def power_off(self) -> None:
        """End the machine and everything on it, as a power cut does."""
        self._machine.power_off()

    def reboot(self) -> None:
        """Cut the power, and switch on again."""
        self.power_off()
        self.power_on()

    def start_sshd(self) -> None:
        """Start the server, after the end of the last one; returns once it listens."""
        command = ["/usr/sbin/sshd", "-D", "-e", "-f", f"{self.disk}/sshd_config"]
        with (self.disk / "sshd.log").open("ab") as output:
            before = output.tell()
            subprocess.run(
                self._machine.inside("setsid", "--fork", *command),
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while b"Server listening" not in (self.disk / "sshd.log").read_bytes()[before:]:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def kill_sshd(self, *, with_sessions: bool = True) -> None:
        """Kill the server, and with it what serves those who are logged in."""
        if with_sessions:
            self.signal_sshd(signal.SIGKILL)
        else:
            self.run_as_root("kill -9 $(cat /run/sshd.pid)")

    def signal_sshd(self, number: int) -> None:
        """Send a signal to everything of the server: SIGSTOP, and it hangs."""
        for entry in self._machine.processes():
            with suppress(OSError):
                if (entry / "comm").read_text().startswith("sshd"):
                    os.kill(int(entry.name), number)

    def freeze(self) -> None:
        """Stop everything of the server and of the user, as a host out of memory does."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        self.signal_sshd(number)
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def cut_network(self) -> None:
        """Lose every packet, without a word to either side."""
        assert self._machine.wire is not None, "the host shares this machine's network"
        self._machine.wire.cut()

    def restore_network(self) -> None:
        """Let packets through again."""
        assert self._machine.wire is not None, "the host shares this machine's network"
        self._machine.wire.mend()

    def run(self, command: str) -> str:
        """What a shell command of the user prints, run on the host without sshd."""
        switch = ["setpriv", "--reuid", str(USER_ID), "--regid", str(USER_ID), "--clear-groups"]
        switch.append("--reset-env")
        return self._machine.run(*switch, "/bin/sh", "-c", command)

    def run_as_root(self, command: str) -> str:
        """The same, as the host's administrator."""
        return self._machine.run("/bin/sh", "-c", command)

    def processes(self) -> list[int]:
        """The user's live processes, by this machine's numbers."""
        found = []
        for entry in self._machine.processes():
            with suppress(OSError):
                if entry.stat().st_uid == USER_ID:
                    found.append(int(entry.name))
        return found

    def established_connections(self) -> int:
        """How many connections to sshd stand, seen from the host."""
        listed = self.run_as_root(f"ss -Htn state established 'sport = :{self.port}'")
        return len(listed.splitlines())

    def logins(self) -> int:
        """How many logins there were since the machine was made."""
        return len(re.findall(r"Accepted (?:publickey|password) for", self.log))

    def _setup(self) -> list[str]:
        return [
            *(["mount -t proc proc /proc"] if self.options.own_processes else []),
            "mount -t tmpfs -o mode=755 tmpfs /run",
            "mkdir -p /run/sshd",
            f"mount --bind {self.disk}/boot_id /proc/sys/kernel/random/boot_id",
            *(f"mount --bind {self.disk}/{name} /etc/{name}" for name in OWN_FILES),
            f"hostname {self.name}",
            f"HOME={shlex.quote(str(self.home))}",
            *self.options.mounts,
        ]


def _require_programs() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        require("ssh", "making a host of namespaces needs root on Linux")
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        require("ssh", f"there is no {', '.join(missing)}")
