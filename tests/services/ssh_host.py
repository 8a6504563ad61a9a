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
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.services.host_disk import (
    USER,
    USER_ID,
    HostOptions,
    make_disk,
    write_configuration,
)
from tests.services.network import VirtualWire, find_free_port
from tests.services.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

_PROGRAMS = ("/usr/sbin/sshd", "ssh-keygen", "ip", "unshare", "nsenter")
# The first process of a machine: it reaps whoever loses its parent.
_INIT = """
import os, time
os.write(1, b".")
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.02)
"""


class SshHost:
    """A machine with one user, who exists nowhere else, and an sshd on loopback or its own wire.

    Its disk is a folder of this machine, under the same path; its processes are in namespaces, and
    die together. Use it as a context manager; it needs root and ends the test without.
    """

    def __init__(self, **options: Any) -> None:
        self.options = HostOptions(**options)
        self.user = USER
        self.name = f"host-{uuid4().hex[:8]}"
        self._init: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._wire: VirtualWire | None = None

    def __enter__(self) -> Self:
        _require_programs()
        self.disk = Path(tempfile.mkdtemp(prefix="mltrain-host-", dir="/var/tmp"))
        try:
            self.disk.chmod(0o755)
            make_disk(self.disk, self.home, self.options.bashrc)
            if self.options.own_network:
                self._wire = VirtualWire(self.name[5:])
                self.address, self.port = self._wire.far_address, 22
            else:
                self.address, self.port = "127.0.0.1", find_free_port()
            write_configuration(self.disk, self.home, self.options, (self.address, self.port))
            self._mark_log()
            self.power_on()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.power_off()
        shutil.rmtree(self.disk, ignore_errors=True)

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
        command = [
            "unshare",
            *self._namespaces(),
            "--fork",
            "--kill-child",
            "--propagation",
            "private",
        ]
        script = f"{self._mounts()}\nexec /usr/bin/env python3 -I -S -c {shlex.quote(_INIT)}"
        self._init = subprocess.Popen(
            [*command, "/bin/sh", "-ec", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._init.stdout is not None
        assert self._init.stdout.read(1) == b".", "the machine did not start"
        if self._wire is not None:
            self._wire.plug_in(self._pid())
        self.start_sshd()

    def power_off(self) -> None:
        """End the machine and everything on it, as a power cut does."""
        self._forget_server()  # a namespace does not end while somebody has yet to reap in it
        if self._init is not None:
            if not self.options.own_processes:
                self.kill_sshd()
                for pid in self.processes():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            with suppress(ProcessLookupError, IndexError):
                os.kill(self._pid(), signal.SIGKILL)
            self._init.wait()
            assert self._init.stdout is not None
            self._init.stdout.close()
            self._init = None

    def reboot(self) -> None:
        """Cut the power, and switch on again."""
        self.power_off()
        self.power_on()

    def start_sshd(self) -> None:
        """Start the server, after the end of the last one; returns once it listens."""
        self._forget_server()
        self._mark_log()
        with (self.disk / "sshd.log").open("ab") as output:
            self._server = subprocess.Popen(
                self._inside("/usr/sbin/sshd", "-D", "-e", "-f", f"{self.disk}/sshd_config"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + 10
        while "Server listening" not in self.log.rpartition("-- started --")[2]:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def _forget_server(self) -> None:
        if self._server is not None:
            self._server.kill()  # what waits for it stops when it is stopped
            self._server.wait()

    def kill_sshd(self, *, with_sessions: bool = True) -> None:
        """Kill the server, and with it what serves those who are logged in."""
        if with_sessions:
            self.signal_sshd(signal.SIGKILL)
        else:
            self.run_as_root("kill -9 $(cat /run/sshd.pid)")

    def signal_sshd(self, number: int) -> None:
        """Send a signal to everything of the server: SIGSTOP, and it hangs."""
        for entry in self._everything_alive():
            with suppress(OSError):
                if (entry / "comm").read_text().strip() == "sshd":
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
        assert self._wire is not None, "the host shares this machine's network"
        self._wire.cut()

    def restore_network(self) -> None:
        """Let packets through again."""
        assert self._wire is not None
        self._wire.mend()

    def run(self, command: str) -> str:
        """What a shell command of the user prints, run on the host without sshd."""
        switch = ["setpriv", "--reuid", str(USER_ID), "--regid", str(USER_ID), "--clear-groups"]
        switch.append("--reset-env")
        return self._output(*switch, "/bin/sh", "-c", command)

    def run_as_root(self, command: str) -> str:
        """The same, as the host's administrator."""
        return self._output("/bin/sh", "-c", command)

    def processes(self) -> list[int]:
        """The user's live processes, by this machine's numbers."""
        found = []
        for entry in self._everything_alive():
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

    def _everything_alive(self) -> Iterator[Path]:
        """The folders below /proc of what runs on this host."""
        ours = Path(f"/proc/{self._pid()}/ns/mnt").readlink()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state not in "ZX" and (entry / "ns/mnt").readlink() == ours:
                    yield entry

    def _output(self, *argv: str) -> str:
        done = subprocess.run(
            self._inside(*argv), check=False, capture_output=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout.decode(errors="surrogateescape")

    def _inside(self, *argv: str) -> list[str]:
        return ["nsenter", "--target", str(self._pid()), *self._namespaces(), "--", *argv]

    def _namespaces(self) -> list[str]:
        network = ["--net"] if self._wire else []
        processes = ["--pid"] if self.options.own_processes else []
        return ["--mount", "--uts", *network, *processes]

    def _pid(self) -> int:
        assert self._init is not None, "the machine is off"
        own = self._init.pid
        return int(Path(f"/proc/{own}/task/{own}/children").read_text().split()[0])

    def _mark_log(self) -> None:
        with (self.disk / "sshd.log").open("a") as log:
            log.write("-- started --\n")

    def _mounts(self) -> str:
        commands = [
            *(["mount -t proc proc /proc"] if self.options.own_processes else []),
            "mount -t tmpfs -o mode=755 tmpfs /run",
            "mkdir -p /run/sshd",
            f"mount --bind {self.disk}/boot_id /proc/sys/kernel/random/boot_id",
            *(
                f"mount --bind {self.disk}/{name} /etc/{name}"
                for name in ("passwd", "group", "shadow")
            ),
            f"hostname {self.name}",
            f"HOME={shlex.quote(str(self.home))}",
            *self.options.mounts,
        ]
        return "\n".join(commands)


def _require_programs() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        require("ssh", "making a host of namespaces needs root on Linux")
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        require("ssh", f"there is no {', '.join(missing)}")
