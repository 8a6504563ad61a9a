"""Ports of this machine, and wires to machines made of namespaces that can be cut."""

from __future__ import annotations

import socket
import subprocess
from contextlib import closing


def find_free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class VirtualWire:
    """A pair of network interfaces, one end here and the other in a network namespace.

    It is gone with the namespace.
    """

    def __init__(self, name: str) -> None:
        self._near = f"mlt{name}"
        subnet = int(name[:4], 16)  # of the addresses for private use
        self._network = f"10.{128 + (subnet >> 8) % 128}.{subnet & 255}"
        self.near_address = f"{self._network}.1"
        self.far_address = f"{self._network}.2"

    def plug_in(self, pid: int) -> None:
        """Connect the network namespace of a process."""
        far = "eth-mlt"
        _ip("link", "add", self._near, "type", "veth", "peer", "name", far, "netns", str(pid))
        _ip("addr", "add", f"{self.near_address}/24", "dev", self._near)
        _ip("link", "set", self._near, "up")
        inside = ["nsenter", "--target", str(pid), "--net", "ip"]
        for words in (
            ["link", "set", "lo", "up"],
            ["addr", "add", f"{self.far_address}/24", "dev", far],
            ["link", "set", far, "up"],
            ["route", "add", "default", "via", self.near_address],
        ):
            subprocess.run([*inside, *words], check=True)

    def cut(self) -> None:
        """Lose every packet in silence."""
        _ip("link", "set", self._near, "down")

    def mend(self) -> None:
        """Let packets through again."""
        _ip("link", "set", self._near, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
