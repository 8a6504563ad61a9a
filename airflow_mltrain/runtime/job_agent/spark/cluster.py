"""What a standalone master tells of its cluster."""

import re
import socket
from typing import Any, Dict, List, Optional, Protocol, Tuple

from .application import ask_master, read_page

_UNITS = {"b": 2.0**-20, "k": 2.0**-10, "m": 1.0, "g": 2.0**10, "t": 2.0**20, "p": 2.0**30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgtp]?)(?:i?b)?", re.IGNORECASE)
# In the head of Spark's pages.
_VERSION = re.compile(r'class="version[^"]*"[^>]*>\s*v?(\d[^<\s]*)')
_PAGES_PORT, _REST_PORT = 8080, 6066
_CONNECT_SECONDS = 3.0


class Demand(Protocol):
    """What an executor asks of a worker."""

    memory_mebibytes: Optional[float]
    cores: Optional[int]


class Cluster:
    """The cluster of a master, `spark://host:port` or several of them after commas."""

    def __init__(self, master: str, pages: Optional[str]) -> None:
        self._masters = _addresses(master)
        self._pages = pages

    def describe(self) -> str:
        """The workers in a few words."""
        workers = self.list_workers()
        if workers is None:
            return "its master's pages were not reached to see why"
        if not workers:
            return "the cluster has no live worker"
        return "the cluster's workers have " + ", ".join(
            "{} of {} cores and {} of {} MiB free".format(
                one["cores_free"], one["cores"], one["memory_free"], one["memory"]
            )
            for one in workers
        )

    def is_too_small(self, demand: Demand) -> bool:
        """Whether no worker could ever take such an executor, as far as it is known."""
        workers = self.list_workers()
        memory, cores = demand.memory_mebibytes or 0, demand.cores or 1
        fits = [one for one in workers or () if memory <= one["memory"] and cores <= one["cores"]]
        return bool(workers) and not fits

    def find_deaf_master(self) -> Optional[str]:
        """The first of its masters that takes no connections, and why; None where all do."""
        for host, port in self._masters:
            try:
                socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
            except OSError as error:
                return "{}:{}: {}".format(host, port, error)
        return None

    def find_version(self) -> Optional[str]:
        """The version of Spark that its master runs, by its REST gateway or its pages."""
        for host, _ in self._masters:
            path = "/v1/submissions/status/none"
            told = ask_master("{}:{}".format(host, _REST_PORT), path)
            if isinstance(told, dict) and told.get("serverSparkVersion"):
                return str(told["serverSparkVersion"])
        for address in self._page_addresses():
            match = _VERSION.search(read_page(address, "/") or "")
            if match:
                return match.group(1)
        return None

    def list_workers(self) -> Optional[List[Dict[str, int]]]:
        """The live workers: cores, and memory in MiB; None where the master does not tell."""
        for address in self._page_addresses():
            workers = _read_workers(ask_master(address, "/json/"))
            if workers is not None:
                return workers
        return None

    def _page_addresses(self) -> List[str]:
        if self._pages:
            return [re.sub(r"^https?://|/+$", "", self._pages)]
        return ["{}:{}".format(host, _PAGES_PORT) for host, _ in self._masters]


def _read_workers(told: Any) -> Optional[List[Dict[str, int]]]:
    """Those of a master that leads; None for what another program may have said."""
    try:
        if told["status"] != "ALIVE":
            return None
        return [_worker(one) for one in told["workers"] if one["state"] == "ALIVE"]
    except (KeyError, TypeError, ValueError):
        return None


def _worker(told: Dict[str, Any]) -> Dict[str, int]:
    names = ("cores", "coresused", "memory", "memoryused")
    cores, cores_used, memory, memory_used = (int(told[name]) for name in names)
    return {
        "cores": cores,
        "cores_free": cores - cores_used,
        "memory": memory,
        "memory_free": memory - memory_used,
    }


def in_mebibytes(size: str) -> Optional[float]:
    """A size as Spark writes it, in MiB, which is what it means without a unit."""
    match = _SIZE.fullmatch(size.strip())
    return float(match.group(1)) * _UNITS[match.group(2).lower() or "m"] if match else None


def _addresses(master: str) -> List[Tuple[str, int]]:
    if not master.startswith("spark://"):
        return []
    found = []
    for one in master[len("spark://") :].split(","):
        host, _, port = one.rpartition(":")
        if host and port.isdigit():
            found.append((host, int(port)))
    return found
