"""A machine made of Linux namespaces: its processes die together, and it leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from os.path import samestat
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.network import VirtualWire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The first process reaps who loses a parent, and ends everything when the tests are gone.
_INIT = """
import os, signal, subprocess, sys
subprocess.run(["/bin/sh", "-ec", sys.argv[1]], stdin=subprocess.DEVNULL, check=True)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.write(1, b".")
os.read(0, 1)
ours, spared = os.readlink("/proc/self/ns/mnt"), (os.getpid(), os.getppid())
for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
    try:
        if pid not in spared and os.readlink(f"/proc/{pid}/ns/mnt") == ours:
            os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
"""
# It keeps the network while the power is off, and removes the disk when the tests are gone.
_KEEPER = 'echo; read _; rm -rf "$0" 2>/dev/null || { sleep 1; rm -rf "$0"; }'


class Machine:
    """Namespaces and a folder that is its disk, off at first.

    With `own_network` there is a wire to it; without `own_processes` its processes are numbered
    as those here. Discard it, and its disk is gone too; so is all of it if the tests are killed.
    """

    def __init__(self, *, own_network: bool, own_processes: bool) -> None:
        self.disk = Path(tempfile.mkdtemp(prefix="mltrain-host-", dir="/var/tmp"))
        self.disk.chmod(0o755)
        self._namespaces = ["--mount", "--uts", *(["--pid"] if own_processes else [])]
        self._boot: subprocess.Popen[bytes] | None = None
        self._init = 0
        self._mounts = -1  # held open, or its number may become that of another machine's
        network = ["unshare", "--net"] if own_network else []
        self._keeper = _start_bound([*network, "/bin/sh", "-c", _KEEPER, str(self.disk)])
        self.wire = VirtualWire(self._keeper.pid) if own_network else None

    def power_on(self, setup: Sequence[str]) -> None:
        """Start its first process, after shell commands that set it up."""
        self._boot = _start_bound(
            [
                *self._on_network(),
                *("unshare", *self._namespaces, "--fork", "--kill-child"),
                *("--propagation", "private", "--", sys.executable, "-I", "-S", "-c", _INIT),
                "\n".join(setup),
            ]
        )
        own = self._boot.pid
        self._init = int(Path(f"/proc/{own}/task/{own}/children").read_text().split()[0])
        self._mounts = os.open(f"/proc/{self._init}/ns/mnt", os.O_RDONLY)
        if self.wire is not None:
            self.wire.mend()

    def power_off(self) -> None:
        """End everything on it at once, without a word to anybody; do nothing if it is off."""
        if self._boot is None:
            return
        if self.wire is not None:
            self.wire.cut()
        with suppress(ProcessLookupError):
            os.kill(self._init, signal.SIGKILL)
        self._boot.communicate()
        while left := [int(entry.name) for entry in self.processes()]:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        os.close(self._mounts)
        self._boot = None

    def discard(self) -> None:
        """End it for good, and remove its disk."""
        try:
            self.power_off()
        finally:
            if self.wire is not None:
                self.wire.remove()
            self._keeper.kill()
            self._keeper.communicate()
            shutil.rmtree(self.disk)

    def inside(self, *argv: str) -> list[str]:
        """The command that runs a program on it, as its administrator."""
        assert self._boot is not None, "the machine is off"
        entry = ["nsenter", "--target", str(self._init), *self._namespaces]
        return [*entry, *(["--net"] if self.wire else []), "--", *argv]

    def run(self, *argv: str) -> str:
        """What a program prints on it."""
        done = subprocess.run(
            self.inside(*argv), check=False, capture_output=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout.decode(errors="surrogateescape")

    def processes(self) -> Iterator[Path]:
        """The folders below /proc of what lives on it."""
        assert self._boot is not None, "the machine is off"
        ours = os.fstat(self._mounts)
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state not in "ZX" and samestat((entry / "ns/mnt").stat(), ours):
                    yield entry

    def _on_network(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._keeper.pid}/ns/net", "--"] if self.wire else []


def _start_bound(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """A process that has said that it is up, and sees the end of its input if the tests die."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdout is not None
    if not process.stdout.read(1):
        raise RuntimeError(f"{argv} did not start: {process.communicate()[1].decode()}")
    return process
