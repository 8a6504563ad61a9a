"""Wires to network namespaces that can be cut."""

from __future__ import annotations

import subprocess
from uuid import uuid4

_FAR = "eth-mlt"


class VirtualWire:
    """A pair of network interfaces, one end here, the other in the network namespace of a process.

    It is cut at first, and gone with the namespace.
    """

    def __init__(self, pid: int) -> None:
        number = uuid4().hex
        self._near = f"mlt{number[:8]}"
        self._inside = ["nsenter", "--target", str(pid), "--net", "ip"]
        subnet = int(number[:4], 16)  # of the addresses for private use
        network = f"10.{128 + (subnet >> 8) % 128}.{subnet & 255}"
        self.near_address = f"{network}.1"
        self.far_address = f"{network}.2"
        hardware = f"02:00:{':'.join(number[i : i + 2] for i in range(0, 8, 2))}"
        _ip(
            *("link", "add", self._near, "type", "veth"),
            *("peer", "name", _FAR, "address", hardware, "netns", str(pid)),
        )
        _ip("addr", "add", f"{self.near_address}/24", "dev", self._near)
        _ip("link", "set", self._near, "up")
        # A far end that is down would be missed, and its absence reported, were it looked for.
        _ip("neigh", "add", self.far_address, "lladdr", hardware, "dev", self._near)
        self._ip_there("link", "set", "lo", "up")
        self._ip_there("addr", "add", f"{self.far_address}/24", "dev", _FAR)

    def cut(self) -> None:
        """Lose every packet in silence."""
        self._ip_there("link", "set", _FAR, "down")

    def mend(self) -> None:
        """Let packets through."""
        self._ip_there("link", "set", _FAR, "up")
        self._ip_there("route", "replace", "default", "via", self.near_address)

    def remove(self) -> None:
        """Take it away at once, and not when the namespace is gone."""
        _ip("link", "del", self._near)

    def _ip_there(self, *words: str) -> None:
        subprocess.run([*self._inside, *words], check=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
