"""What an engine is told of a run's container, as its API has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from airflow_mltrain.config.container_options import ContainerOptions
from airflow_mltrain.config.size import parse_size
from airflow_mltrain.targets.agent_entry import job_agent, python_candidates, python_command
from airflow_mltrain.targets.base import Job
from airflow_mltrain.targets.docker.config import DockerTargetConfig
from airflow_mltrain.targets.docker.image import Image

ROOT: Final = "/mltrain"  # of the job agent, in every container
RUN_LABEL: Final = "mltrain.run_id"
VOLUME_LABEL: Final = "mltrain.volume"
IMAGE_LABEL: Final = "mltrain.image"
_GRACE_SECONDS: Final = 10.0  # for what a supervisor does when its script has ended
_USUAL_SHM_BYTES: Final = 2 << 30
_BOOT: Final = """
import os, sys, time
root, digest, run_id, user = {arguments!r}
home = os.path.join(root, "agent", digest)
is_ordered = os.path.isdir(home)
if not is_ordered:
    os.write(1, b"[mltrain] lacking\\n")
deadline = time.monotonic() + 900
while not os.path.isdir(home):
    if time.monotonic() > deadline:
        sys.exit(75)
    time.sleep(0.003)
sys.path.insert(0, home)
from job_agent.container import main
sys.exit(main(root, run_id, user, is_ordered=is_ordered))
"""


def describe_container(
    config: DockerTargetConfig, job: Job, image: Image, labels: Mapping[str, str]
) -> dict[str, Any]:
    """A run's container, with the limits that are the narrower ones of job and target."""
    options = None if job.image is None else job.image.plan.options
    user = (options and options.user) or config.user or image.user
    arguments = (ROOT, job_agent().digest, job.run_id, user or None)
    command = python_command(
        python_candidates(config.python),
        _BOOT.format(arguments=arguments),
        bytecode_folder(image.id),
    )
    variables = []
    if config.gpus and _has_own_runtime(config, job):
        shown = ",".join(config.gpus) if job.resources.gpus else "void"
        variables.append(f"NVIDIA_VISIBLE_DEVICES={shown}")
    return {
        "Image": image.id,
        "Env": variables,
        "Entrypoint": command,
        "Cmd": [],
        "OpenStdin": True,  # for the job, as `job_agent/order.py` takes it
        "StdinOnce": True,
        "User": "0:0",  # of the supervisor; the script's is the image's
        "WorkingDir": "/",
        "StopTimeout": int(job.cancel_grace_seconds + _GRACE_SECONDS),
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {
            **{f"mltrain.{name}": value for name, value in job.labels.items()},
            **labels,
            IMAGE_LABEL: image.name,
            RUN_LABEL: job.run_id,
            VOLUME_LABEL: config.volume,
        },
        "HostConfig": {**_host_config(config), **_bounds(config, job), **_wishes(options)},
    }


def _has_own_runtime(config: DockerTargetConfig, job: Job) -> bool:
    """Whether a runtime was named: that one reads a variable for which cards to show."""
    options = None if job.image is None else job.image.plan.options
    return config.runtime is not None or bool(options and options.runtime)


def _bounds(config: DockerTargetConfig, job: Job) -> dict[str, Any]:
    wanted = job.resources
    memory = _least(wanted.memory_bytes, _size_of(config.memory))
    cpus = _least(wanted.cpus, config.cpus)
    found: dict[str, Any] = {}
    if memory is not None:
        found |= {"Memory": int(memory), "MemorySwap": int(memory)}
    if cpus is not None:
        found["NanoCpus"] = int(cpus * 1e9)
    if wanted.gpus and config.gpus and not _has_own_runtime(config, job):
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


def _host_config(config: DockerTargetConfig) -> dict[str, Any]:
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
