"""What a Docker engine needs of this machine; as a program, it gives all of that back."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator

_CGROUPS = Path("/sys/fs/cgroup")
_CLEAR_SECONDS = 120


class DockerGround:
    """A folder, a bridge with a network of its own, and rules that let its packets out.

    The name of all of it is in the command lines, mounts, and control groups of what the engine
    starts there. Discard it, and all of that is gone; so it is if the tests are killed.
    """

    def __init__(self) -> None:
        self.name = f"mlt{uuid4().hex[:8]}"  # the kernel allows an interface 15 letters
        self.network = _find_free_network()
        self.folder = _folder(self.name)
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, self.name, str(self.network)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
        try:
            self.folder.mkdir(mode=0o700)
            self._make_bridge()
            for table, *rule in _rules(self.network):
                subprocess.run(["iptables", "-w", "-t", table, "-I", *rule], check=True)
            if not any(_CGROUPS.iterdir()):
                subprocess.run(["cgroupfs-mount"], check=True)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Kill what runs on it, and leave nothing."""
        said = self._keeper.communicate()[1].decode()
        assert self._keeper.returncode == 0, said

    def _make_bridge(self) -> None:
        own = next(self.network.subnets(new_prefix=24))  # the rest is for networks that tests make
        for words in (
            ("link", "add", self.name, "type", "bridge"),
            ("addr", "add", f"{own[1]}/24", "dev", self.name),
            ("link", "set", self.name, "up"),
        ):
            subprocess.run(["ip", *words], check=True)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that is dead may be listed until somebody asks for its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _find_free_network() -> IPv4Network:
    """A private network that no interface of this machine has."""
    taken = [
        IPv4Network(route["dst"])
        for route in _ask_ip("route")
        if route["dst"] != "default" and "gateway" not in route
    ]
    possible = list(IPv4Network("10.0.0.0/9").subnets(new_prefix=20))
    return secrets.choice([one for one in possible if not any(map(one.overlaps, taken))])


def _ask_ip(what: str) -> list[dict[str, Any]]:
    answer = subprocess.run(["ip", "-j", "-4", what], check=True, capture_output=True).stdout
    listed: list[dict[str, Any]] = json.loads(answer)
    return listed


def _rules(network: IPv4Network) -> list[list[str]]:
    """The table, the chain and the words of each."""
    inside = str(network)
    answers = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"]
    return [
        ["nat", "POSTROUTING", "-s", inside, "!", "-d", inside, "-j", "MASQUERADE"],
        ["filter", "FORWARD", "-s", inside, "-j", "ACCEPT"],
        ["filter", "FORWARD", "-d", inside, *answers, "-j", "ACCEPT"],
    ]


def _folder(name: str) -> Path:
    return Path("/var/tmp", name)  # noqa: S108 - nobody guesses the name; a socket's path is short


def _clear(name: str, network: IPv4Network) -> None:
    folder, deadline = _folder(name), time.monotonic() + _CLEAR_SECONDS
    while left := list(_processes(name)):
        assert time.monotonic() < deadline, f"processes {left} of {name} do not end"
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    for note in folder.glob("exec/containerd/daemon/*/*/*/address"):
        # A shim that was killed leaves its socket, which is in a folder of all of them.
        Path(note.read_text().removeprefix("unix://")).unlink(missing_ok=True)
    for place in reversed(_mounts(folder)):
        subprocess.run(["umount", "--lazy", place], check=True)
    for interface in _ask_ip("addr"):
        addresses = [IPv4Address(one["local"]) for one in interface["addr_info"]]
        if any(address in network for address in addresses):
            subprocess.run(["ip", "link", "del", interface["ifname"]], check=True)
    for table, *rule in _rules(network):
        delete = ["iptables", "-w", "-t", table, "-D", *rule]
        subprocess.run(delete, check=False, stderr=subprocess.DEVNULL)
    _remove_cgroups(name, deadline)
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=time.monotonic() < deadline)


def _processes(name: str) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        with suppress(OSError):
            said = (entry / "cmdline").read_bytes() + (entry / "cgroup").read_bytes()
            if name.encode() in said and pid != os.getpid() and is_alive(pid):
                yield pid


def _mounts(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [place for line in lines if (place := line.split()[4]).startswith(str(folder))]


def _remove_cgroups(name: str, deadline: float) -> None:
    while left := [*_CGROUPS.glob(name), *_CGROUPS.glob(f"*/{name}")]:
        assert time.monotonic() < deadline, f"control groups {left} are busy"
        for top in left:
            for folder, *_ in os.walk(top, topdown=False):
                with suppress(OSError):  # it is busy for as long as somebody's end is unheard of
                    Path(folder).rmdir()


if __name__ == "__main__":
    sys.stdin.read()  # ends with the tests, or when they are done
    _clear(sys.argv[1], IPv4Network(sys.argv[2]))
