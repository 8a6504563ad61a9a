"""Who is struck, and how."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from docker.errors import APIError

from tests.crash.ground import Ground
from tests.services.docker_engine import DockerEngine
from tests.services.docker_jobs import processes_in
from tests.services.jobs import is_running

_LAUNCH_SECONDS = 0.03
_one_engine = threading.Lock()


@dataclass(frozen=True)
class Scene:
    """A process of ours at work on a trial."""

    ground: Ground
    dag_run_id: str
    pid: int


@dataclass(frozen=True)
class Victim:
    """One that can be struck; `strike` says whether there was anything to hit."""

    name: str
    strike: Callable[[Scene], bool]
    is_job_struck: bool = False  # the job itself may not survive it


def _send(number: int) -> Callable[[Scene], bool]:
    def strike(scene: Scene) -> bool:
        try:
            os.kill(scene.pid, number)
        except ProcessLookupError:
            return False
        return True

    return strike


def _cut_history(scene: Scene) -> bool:
    return scene.ground.cut_history(scene.dag_run_id) > 0


def _kill_supervisor(scene: Scene) -> bool:
    return _kill_all(_job_agents(scene))


def _kill_launcher(scene: Scene) -> bool:
    """The process between a starter and the supervisor, which lives for some milliseconds."""
    time.sleep(random.uniform(0, _LAUNCH_SECONDS))  # noqa: S311
    return _kill_all([pid for pid in _job_agents(scene) if _parent(pid) == scene.pid])


def _job_agents(scene: Scene) -> list[int]:
    tags = {
        f"MLTRAIN_RUN_ID={run.run_id}".encode() for run in scene.ground.runs_of(scene.dag_run_id)
    }
    return [
        pid
        for pid, variables in _environments()
        if tags & variables and b"job_agent.supervisor" in _read(pid, "cmdline")
    ]


def _kill_agent(scene: Scene) -> bool:
    """The job agent that a process of ours talks to over SSH, the parent of its supervisors."""
    return _kill_all(_ssh_agents(scene))


def _cut_ssh(scene: Scene) -> bool:
    """What serves the connection at its other end."""
    found = set()
    for agent in _ssh_agents(scene):
        pid = _parent(agent)
        while pid > 1 and not _read(pid, "comm").startswith(b"sshd"):
            pid = _parent(pid)
        found.add(pid)
    return _kill_all([pid for pid in found if pid > 1])


def _kill_engine(scene: Scene) -> bool:
    """The engine of all trials, which is brought up again; what it runs survives it."""
    engine: DockerEngine = scene.ground.services["engine"]
    with _one_engine:
        engine.kill()
        engine.start()
    return True


def _kill_container(scene: Scene) -> bool:
    engine: DockerEngine = scene.ground.services["engine"]
    is_hit = False
    with _one_engine, closing(engine.client()) as client:  # another strike may be at it
        for run in scene.ground.runs_of(scene.dag_run_id):
            with suppress(APIError):  # it may not be there, or have ended
                client.api.kill(run.run_id)
                is_hit = True
    return is_hit


def _kill_contained_supervisor(scene: Scene) -> bool:
    """What the init of a job's container runs, and nothing else in there."""
    inits: set[int] = set()
    found: list[int] = []
    for run in scene.ground.runs_of(scene.dag_run_id):
        inside = _processes_in(scene, run.run_id)
        inits |= {pid for pid in inside if _inner_pid(pid) == 1}
        found += inside
    return _kill_all([pid for pid in found if _parent(pid) in inits])


def _kill_contained_agent(scene: Scene) -> bool:
    """The job agents that answer for the runs of the engine, those of other trials as well."""
    inside = [pid for name in _agent_containers(scene) for pid in _processes_in(scene, name)]
    return _kill_all([pid for pid in inside if _read(pid, "comm").startswith(b"python")])


def _kill_agent_container(scene: Scene) -> bool:
    """The init of the container that those agents are in, which takes them along."""
    inside = [pid for name in _agent_containers(scene) for pid in _processes_in(scene, name)]
    return _kill_all([pid for pid in inside if _inner_pid(pid) == 1])


def _agent_containers(scene: Scene) -> list[str]:
    engine: DockerEngine = scene.ground.services["engine"]
    with _one_engine, closing(engine.client()) as client:
        return [one["Id"] for one in client.api.containers(filters={"label": "mltrain.agent"})]


def _processes_in(scene: Scene, container: str) -> list[int]:
    engine: DockerEngine = scene.ground.services["engine"]
    with _one_engine, closing(engine.client()) as client:
        return [int(entry.name) for entry in processes_in(client, container)]


def _inner_pid(pid: int) -> int:
    """The number that a process has where it sees itself."""
    found = re.search(rb"^NSpid:.*\b(\d+)$", _read(pid, "status"), re.MULTILINE)
    return int(found[1]) if found else 0


def _ssh_agents(scene: Scene) -> list[int]:
    ports = {str(port).encode() for port in _local_ports(scene.pid)}
    found = []
    for pid, variables in _environments():
        told = next((one for one in variables if one.startswith(b"SSH_CONNECTION=")), None)
        if told is None or any(one.startswith(b"MLTRAIN_RUN_ID=") for one in variables):
            continue
        if told.split()[1] in ports:
            found.append(pid)
    return found


def _local_ports(pid: int) -> set[int]:
    inodes = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if match := re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink())):
                    inodes.add(match[1])
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[9] in inodes:
            ports.add(int(words[1].rpartition(":")[2], 16))
    return ports


def _environments() -> list[tuple[int, set[bytes]]]:
    return [
        (int(entry.name), set(_read(int(entry.name), "environ").split(b"\0")))
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
    ]


def _read(pid: int, name: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def _parent(pid: int) -> int:
    words = _read(pid, "stat").rpartition(b")")[2].split()
    return int(words[1]) if words else 0


def _kill_all(pids: list[int]) -> bool:
    is_hit = False
    for pid in pids:
        with suppress(ProcessLookupError):
            is_hit |= is_running(pid)
            os.kill(pid, signal.SIGKILL)
    return is_hit


TASK_KILLED = Victim("task, SIGKILL", _send(signal.SIGKILL))
TASK_TERMINATED = Victim("task, SIGTERM", _send(signal.SIGTERM))
TRIGGERER_KILLED = Victim("triggerer, SIGKILL", _send(signal.SIGKILL))
TRIGGERER_TERMINATED = Victim("triggerer, SIGTERM", _send(signal.SIGTERM))
HISTORY_CUT = Victim("PostgreSQL connection", _cut_history)
SUPERVISOR_KILLED = Victim("job's supervisor, SIGKILL", _kill_supervisor, is_job_struck=True)
LAUNCHER_KILLED = Victim("job agent's parent, SIGKILL", _kill_launcher, is_job_struck=True)
ENGINE_KILLED = Victim("dockerd, SIGKILL", _kill_engine)
CONTAINER_KILLED = Victim("job's container, SIGKILL", _kill_container, is_job_struck=True)
CONTAINED_SUPERVISOR_KILLED = Victim(
    "job's supervisor, SIGKILL", _kill_contained_supervisor, is_job_struck=True
)
CONTAINED_AGENT_KILLED = Victim("job agent, SIGKILL", _kill_contained_agent)
AGENT_CONTAINER_KILLED = Victim("job agent's parent, SIGKILL", _kill_agent_container)
AGENT_KILLED = Victim("job agent's parent, SIGKILL", _kill_agent)
SSH_CUT = Victim("SSH connection", _cut_ssh)
