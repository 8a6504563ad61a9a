"""What a driver's own web pages tell of its application."""

import http.client
import json
import os
import socket
import struct
from typing import Any, Dict, List, NamedTuple, Optional, Set

_PATIENCE_SECONDS = 5.0
_PORTS_TRIED = 100  # Spark takes the next one where a port is taken
_LISTENING = "0A"
_BYTES_OF_4 = 4
_MAPPED = bytes(10) + b"\xff\xff"  # before an address of version 4 in one of 6


class Application(NamedTuple):
    """A Spark application as its driver shows it."""

    application_id: str
    properties: Dict[str, str]

    @property
    def is_local(self) -> bool:
        """Whether it has no executors but the driver itself."""
        return self.properties.get("spark.master", "").startswith("local")


class Work(NamedTuple):
    """What an application has done and does."""

    executors: int
    cores: int
    tasks_done: int
    jobs: List[Dict[str, Any]]  # that run


class DriverPages:
    """The pages of the Spark driver that a process of this machine is, once it has them."""

    def __init__(self, pid: int, first_port: int) -> None:
        self._pid = pid
        self._ports = range(first_port, first_port + _PORTS_TRIED)
        self.address: Optional[str] = None  # host:port

    def find_application(self) -> Optional[Application]:
        """The application that runs; None as long as there is none, or it shows no pages."""
        for address in _listening(self._pid, self._ports):
            found = _ask(address, "/api/v1/applications")
            if found:
                application_id = found[0]["id"]
                told = _ask(address, "/api/v1/applications/{}/environment".format(application_id))
                if told is not None:
                    self.address = address
                    return Application(application_id, dict(told["sparkProperties"]))
        return None

    def look_at_work(self, application: Application) -> Optional[Work]:
        """What it does now; None where it has ended, or does not say."""
        base = "/api/v1/applications/{}".format(application.application_id)
        executors = _ask(self.address, base + "/executors")
        jobs = _ask(self.address, base + "/jobs?status=running")
        if executors is None or jobs is None:
            return None
        working = [one for one in executors if application.is_local or one["id"] != "driver"]
        return Work(
            executors=len(working),
            cores=sum(one["totalCores"] for one in working),
            tasks_done=sum(one["completedTasks"] for one in executors),
            jobs=sorted(jobs, key=lambda job: job["jobId"]),
        )


def _ask(address: Optional[str], path: str) -> Any:
    text = None if address is None else read_page(address, path)
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None


def read_page(address: str, path: str) -> Optional[str]:
    """What the page at host:port says; None where it does not."""
    try:
        connection = http.client.HTTPConnection(address, timeout=_PATIENCE_SECONDS)
    except http.client.InvalidURL:  # pages that are below a path
        return None
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        return content.decode(errors="replace") if answer.status == http.client.OK else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def ask_master(address: str, path: str) -> Any:
    """What a master's page at host:port says, as JSON; None where it does not."""
    return _ask(address, path)


def _listening(pid: int, ports: "range") -> List[str]:
    """The addresses in this range of ports at which a process takes connections."""
    inodes = _sockets(pid)
    found = []
    for table in ("tcp", "tcp6"):
        try:
            with open("/proc/{}/net/{}".format(pid, table)) as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        for row in rows:
            host, _, port = row[1].rpartition(":")
            if row[3] == _LISTENING and row[9] in inodes and int(port, 16) in ports:
                found.append("{}:{}".format(_host(host), int(port, 16)))
    return sorted(found)


def _sockets(pid: int) -> Set[str]:
    folder = "/proc/{}/fd".format(pid)
    found = set()
    try:
        for name in os.listdir(folder):
            try:
                link = os.readlink(os.path.join(folder, name))
            except OSError:
                continue
            if link.startswith("socket:["):
                found.add(link[len("socket:[") : -1])
    except OSError:
        return set()
    return found


def _host(hexadecimal: str) -> str:
    """An address as the kernel shows it, words in the order of this machine, for a URL."""
    words = [hexadecimal[at : at + 8] for at in range(0, len(hexadecimal), 8)]
    packed = struct.pack("={}I".format(len(words)), *(int(word, 16) for word in words))
    if not any(packed):
        return "127.0.0.1"  # which any address takes
    if len(packed) == _BYTES_OF_4 or packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[-_BYTES_OF_4:])
    return "[{}]".format(socket.inet_ntop(socket.AF_INET6, packed))
