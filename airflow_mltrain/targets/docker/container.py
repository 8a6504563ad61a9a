"""The container of a run: how it is made, found again, and what its end says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from docker.errors import APIError, NotFound

from airflow_mltrain.config.container_options import ContainerOptions
from airflow_mltrain.config.size import parse_size
from airflow_mltrain.errors import JobStartError
from airflow_mltrain.targets.agent_entry import (
    NO_PYTHON,
    job_agent,
    python_candidates,
    python_command,
)
from airflow_mltrain.targets.base import Job
from airflow_mltrain.targets.docker.config import DockerTargetConfig
from airflow_mltrain.targets.docker.engine import Engine
from airflow_mltrain.targets.docker.failure import words_of
from airflow_mltrain.targets.docker.image import Image

ROOT: Final = "/mltrain"  # of the job agent, in every container
RUN_LABEL: Final = "mltrain.run_id"
VOLUME_LABEL: Final = "mltrain.volume"
_IMAGE_LABEL: Final = "mltrain.image"
_CONFLICT, _NOT_FOUND = 409, 404
_KILLED = 128 + 9
_NO_SHELL: Final = "exec /bin/sh failed"  # as the engine's init says
_ATTEMPTS: Final = 50
_PAUSE_SECONDS: Final = 0.1
_EXIT_SECONDS: Final = 10
_FORGOTTEN_SECONDS: Final = 24 * 3600  # after so long nobody is about to start it
_NOTHING_TO_DO: Final = 75  # as `container.main` of the job agent exits
_GRACE_SECONDS: Final = 10.0  # for what a supervisor does when its script has ended
_USUAL_SHM_BYTES: Final = 2 << 30
_BOOT: Final = """
import os, sys, time
root, digest, run_id, user = {arguments!r}
home = os.path.join(root, "agent", digest)
deadline = time.monotonic() + 900
while not os.path.isdir(home):
    if time.monotonic() > deadline:
        sys.exit(75)
    time.sleep(0.003)
sys.path.insert(0, home)
from job_agent.container import main
sys.exit(main(root, run_id, user))
"""


@dataclass(frozen=True)
class Ending:
    """How a container ended, in words, with its exit code if it has one."""

    reason: str
    exit_code: int | None


class Containers:
    """The containers of one target; each is named after its run."""

    def __init__(self, engine: Engine, config: DockerTargetConfig) -> None:
        self._engine = engine
        self._config = config

    def begin(self, job: Job, image: Image, labels: Mapping[str, str]) -> None:
        """Have the job's container run; nothing where it does, or has.

        It waits for the job to be laid down. JobStartError where the engine refuses it.
        """
        for _ in range(_ATTEMPTS):
            if self._try_to_begin(job, image, labels):
                return
            time.sleep(_PAUSE_SECONDS)
        raise self._engine.unreachable(
            f"container {job.run_id!r} is neither there nor can it be made; repeat this"
        )

    def _try_to_begin(self, job: Job, image: Image, labels: Mapping[str, str]) -> bool:
        """False where somebody makes or removes it at this moment."""
        with self._engine.asking() as client:
            try:
                client.create_container_from_config(self._content(job, image, labels), job.run_id)
            except APIError as error:
                if error.status_code != _CONFLICT:
                    raise self._refusal(error) from error
            try:
                found = client.inspect_container(job.run_id)
            except NotFound:
                return False
            self._require_own(job.run_id, found)
            if found["State"]["Status"] != "created":
                return True  # what has ended would run again
            try:
                client.start(job.run_id)
            except APIError as error:
                # A network that is missing is "not found" too.
                is_gone = error.status_code == _NOT_FOUND
                if is_gone and self._engine.find_container(job.run_id) is None:
                    return False
                self._engine.remove_container(job.run_id)
                raise self._refusal(error) from error
        return True

    def find_ending(self, run_id: str) -> Ending | None:
        """Why the container does not run any more; None where it does, or is about to."""
        found = self._engine.find_container(run_id)
        if found is None:
            return Ending("its container was removed from outside while it ran", None)
        state = found["State"]
        if state["Status"] not in ("exited", "dead"):
            return None
        code = int(state["ExitCode"])
        if state.get("OOMKilled"):
            limit = found["HostConfig"].get("Memory") or 0
            bound = f" of {limit / (1 << 20):.0f} MiB" if limit else ""
            return Ending(f"out of memory: its container reached the limit{bound}", code)
        if code == _KILLED:
            return Ending(
                "its container was killed (SIGKILL): by somebody, or as the engine was stopped",
                code,
            )
        return Ending(f"its container ended with exit code {code}: {self._words(run_id)}", code)

    def explain_no_begin(self, run_id: str) -> str | None:
        """Why a job was not claimed that its container was begun for; None where it may be yet."""
        found = self._engine.find_container(run_id)
        if found is None:
            return "its container was removed before it began"
        state = found["State"]
        if state["Status"] not in ("exited", "dead"):
            return None
        words = self._words(run_id)
        image = found["Config"]["Labels"].get(_IMAGE_LABEL)
        if NO_PYTHON in words:
            return (
                f"image {image!r} has no Python: use an image with Python 3.8 "
                "or newer, or name its Python as `python` under `mltrain` in the connection's "
                "extra"
            )
        if _NO_SHELL in words:
            return f"image {image!r} has no /bin/sh, which a run needs"
        if state.get("OOMKilled"):
            return "its container ran out of memory before the script began: allow it more"
        return f"its container ended with exit code {state['ExitCode']} at once: {words}"

    def release(self, run_id: str) -> None:
        """Remove an ended run's container, unless it is to be kept."""
        keep = self._config.keep_containers
        if keep == "never" or (keep == "on_failure" and self._ends_well(run_id)):
            self._engine.remove_container(run_id)

    def _ends_well(self, run_id: str) -> bool:
        """Whether the container exits with 0, which it is about to."""
        with self._engine.asking() as client:
            try:
                return int(client.wait(run_id, timeout=_EXIT_SECONDS)["StatusCode"]) == 0
            except NotFound:
                return False

    def remove(self, run_id: str) -> None:
        """Remove a run's container, whatever it does; a stranger's stays."""
        found = self._engine.find_container(run_id)
        if found is not None and (found["Config"]["Labels"] or {}).get(RUN_LABEL) == run_id:
            self._engine.remove_container(run_id)

    def sweep(self, has_job: Callable[[str], bool]) -> None:
        """Remove what killed submitters left: containers that got no job, and never will."""
        label = f"{VOLUME_LABEL}={self._config.volume}"
        with self._engine.asking() as client:
            waited = client.containers(
                all=True, filters={"label": label, "exited": _NOTHING_TO_DO}
            )
            made = client.containers(all=True, filters={"label": label, "status": "created"})
        forgotten = [one for one in made if time.time() - one["Created"] > _FORGOTTEN_SECONDS]
        for container in (*waited, *forgotten):
            if not has_job(container["Labels"][RUN_LABEL]):  # a script may exit with 75 as well
                self._engine.remove_container(container["Id"])

    def unpause(self, run_id: str) -> None:
        """Let a paused container hear that it is to end; nothing to any other."""
        found = self._engine.find_container(run_id)
        if found is not None and found["State"].get("Paused"):
            with self._engine.asking() as client:
                client.unpause(run_id)

    def _require_own(self, run_id: str, found: Mapping[str, Any]) -> None:
        if (found["Config"]["Labels"] or {}).get(RUN_LABEL) != run_id:
            raise JobStartError(
                f"there is a container {run_id!r} on {self._engine.describe()} that is not the "
                "run's: rename or remove it, then submit again"
            )

    def _refusal(self, error: APIError) -> JobStartError:
        words = words_of(error)
        if error.status_code == _NOT_FOUND and "network" in words.lower():
            words += "; see `network`"
        elif "/bin/sh" in words:
            words = f"the image has no /bin/sh, which a run needs ({words})"
        elif "capabilities: [[gpu]]" in words:
            words += "; the engine needs the NVIDIA container toolkit for `gpus`"
        return JobStartError(f"{self._engine.describe()} refused the container: {words}")

    def _words(self, run_id: str) -> str:
        with self._engine.asking() as client:
            try:
                said = client.logs(run_id, tail=20)
            except APIError as error:
                return words_of(error)
        return bytes(said).decode(errors="replace").strip() or "it said nothing"

    def _content(self, job: Job, image: Image, labels: Mapping[str, str]) -> dict[str, Any]:
        config = self._config
        options = None if job.image is None else job.image.plan.options
        user = (options and options.user) or config.user or image.user
        arguments = (ROOT, job_agent().digest, job.run_id, user or None)
        command = python_command(
            python_candidates(config.python),
            _BOOT.format(arguments=arguments),
            bytecode_folder(image.id),
        )
        variables = []
        if config.gpus and self._has_own_runtime(job):
            shown = ",".join(config.gpus) if job.resources.gpus else "void"
            variables.append(f"NVIDIA_VISIBLE_DEVICES={shown}")
        return {
            "Image": image.id,
            "Env": variables,
            "Entrypoint": command,
            "Cmd": [],
            "User": "0:0",  # of the supervisor; the script's is the image's
            "WorkingDir": "/",
            "StopTimeout": int(job.cancel_grace_seconds + _GRACE_SECONDS),
            "Healthcheck": {"Test": ["NONE"]},
            "Labels": {
                **{f"mltrain.{name}": value for name, value in job.labels.items()},
                **labels,
                _IMAGE_LABEL: image.name,
                RUN_LABEL: job.run_id,
                VOLUME_LABEL: config.volume,
            },
            "HostConfig": {**host_config(config), **self._bounds(job), **_wishes(options)},
        }

    def _has_own_runtime(self, job: Job) -> bool:
        """Whether a runtime was named: that one reads a variable for which cards to show."""
        options = None if job.image is None else job.image.plan.options
        return self._config.runtime is not None or bool(options and options.runtime)

    def _bounds(self, job: Job) -> dict[str, Any]:
        config, wanted = self._config, job.resources
        memory = _least(wanted.memory_bytes, _size_of(config.memory))
        cpus = _least(wanted.cpus, config.cpus)
        found: dict[str, Any] = {}
        if memory is not None:
            found |= {"Memory": int(memory), "MemorySwap": int(memory)}
        if cpus is not None:
            found["NanoCpus"] = int(cpus * 1e9)
        if wanted.gpus and config.gpus and not self._has_own_runtime(job):
            devices = {"Driver": "nvidia", "DeviceIDs": config.gpus, "Capabilities": [["gpu"]]}
            found["DeviceRequests"] = [devices]
        return found


def inner_names(gpus: Sequence[str]) -> dict[str, str]:
    """Declared cards, each with the name that it has in a container which sees these alone.

    Cards are numbered anew there, in their order; one that has a UUID keeps it.
    """
    numbers = sorted((name for name in gpus if name.isdigit()), key=int)
    return {name: str(numbers.index(name)) if name in numbers else name for name in gpus}


def bytecode_folder(image_id: str) -> str:
    """Where on the volume the bytecode of an image's Python is kept."""
    return f"{ROOT}/bytecode/{image_id.rpartition(':')[2][:32]}"


def host_config(config: DockerTargetConfig) -> dict[str, Any]:
    """What the containers of a target have in common."""
    found: dict[str, Any] = {
        "Init": True,
        "Mounts": [volume_mount(config), *map(_mount, config.mounts or ())],
        "ShmSize": _USUAL_SHM_BYTES if config.shm_size is None else parse_size(config.shm_size),
    }
    if config.network is not None:
        found["NetworkMode"] = config.network
    if config.runtime is not None:
        found["Runtime"] = config.runtime
    return found


def volume_mount(config: DockerTargetConfig) -> dict[str, Any]:
    """The target's volume, in which everything of its runs lies."""
    labels = {"Labels": {VOLUME_LABEL: config.volume}}
    return {"Type": "volume", "Source": config.volume, "Target": ROOT, "VolumeOptions": labels}


def _mount(text: str) -> dict[str, Any]:
    source, target, *mode = text.split(":")
    return {
        "Type": "bind" if PurePosixPath(source).is_absolute() else "volume",
        "Source": source,
        "Target": target,
        "ReadOnly": mode == ["ro"],
    }


def _wishes(options: ContainerOptions | None) -> dict[str, Any]:
    """What an environment asks of its container."""
    if options is None:
        return {}
    names = ("Name", "Soft", "Hard")
    asked = {
        "ShmSize": None if options.shm_size_bytes == _USUAL_SHM_BYTES else options.shm_size_bytes,
        "NetworkMode": options.network,
        "IpcMode": options.ipc,
        "Runtime": options.runtime,
        "Dns": list(options.dns),
        "Tmpfs": dict.fromkeys(options.tmpfs, ""),
        "ExtraHosts": [f"{name}:{address}" for name, address in options.add_hosts],
        "Ulimits": [dict(zip(names, one, strict=True)) for one in options.ulimits],
    }
    return {key: value for key, value in asked.items() if value}


def _size_of(text: str | None) -> int | None:
    return None if text is None else parse_size(text)


def _least(*bounds: float | None) -> float | None:
    return min((bound for bound in bounds if bound is not None), default=None)
