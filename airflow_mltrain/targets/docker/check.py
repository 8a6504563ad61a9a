"""What a Docker engine is, and what runs need of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from docker.errors import NotFound

from airflow_mltrain.targets.check import Finding, FindingLevel, judge
from airflow_mltrain.targets.docker.config import DockerTargetConfig
from airflow_mltrain.targets.docker.engine import Engine
from airflow_mltrain.targets.docker.image import Images

_OK, _WARNING, _FAULT = FindingLevel.OK, FindingLevel.WARNING, FindingLevel.FAULT
_SECURE: Final = ("unix://", "ssh://")
_SUBJECTS: Final = {"root folder": "volume"}
_ANOTHER_PLACE: Final = (
    "give the engine a `data-root` that can, or name a `volume` that lies elsewhere"
)
_ROOM: Final = (
    "remove unused environments (`mltrain gc --target NAME --max-gigabytes 0`), or unused images "
    "there (`docker image prune`)"
)
_REMEDIES: Final = {
    "root folder": _ANOTHER_PLACE,
    "programs": _ANOTHER_PLACE,
    "disk space": _ROOM,
    "files": _ROOM,
    "supervision": "use an engine on Linux 3.17 or newer, with Docker's own seccomp profile",
    "clock": "on the engine's host, as root: `timedatectl set-ntp true`, or set up chrony",
}
NOT_TRIED_OUT: Final = Finding(
    "job agent",
    _WARNING,
    "volume and clock were not looked at: no image there is known to have a Python",
    "submit a run, or name an image as `image` and `docker pull` it there",
)


def look_at_engine(
    engine: Engine, config: DockerTargetConfig, images: Images
) -> tuple[Finding, ...]:
    """Findings on the engine; each that is not ok has a remedy."""
    with engine.asking() as client:
        facts = dict(client.info())
    return (
        *_judge_engine(facts, config),
        _judge_transport(config),
        _judge_restart(facts),
        *_judge_limits(facts, config),
        *_judge_gpus(facts, config),
        _judge_image(config, images),
        *_judge_network(engine, config),
    )


def judge_agent_container(
    facts: Mapping[str, Any], clock_skew_seconds: float
) -> tuple[Finding, ...]:
    """Findings on what the job agent told of the kernel, the volume and the clock.

    Of the rest it sees its container, which none of the jobs runs in.
    """
    kept = {name: facts[name] for name in ("supervision", "root")}
    found = judge(kept, clock_skew_seconds=clock_skew_seconds)
    return tuple(
        replace(
            one,
            subject=_SUBJECTS.get(one.subject, one.subject),
            remedy=one.remedy and _REMEDIES.get(one.subject, one.remedy),
        )
        for one in found
    )


def no_agent(error: Exception) -> Finding:
    """The finding where a job agent cannot begin; its words say what to do."""
    return Finding("job agent", _FAULT, " ".join(str(error).split()))


def _judge_engine(facts: Mapping[str, Any], config: DockerTargetConfig) -> Iterator[Finding]:
    text = (
        f"Docker {facts['ServerVersion']} on {facts['Name']} ({facts['OperatingSystem']}, "
        f"{facts['Architecture']}, {facts['NCPU']} CPUs, {facts['MemTotal'] / 1e9:.1f} GB), "
        f"storage {facts['Driver']}, {facts['ContainersRunning']} containers run"
    )
    yield Finding("engine", _OK, f"{text}; volume {config.volume!r}")
    if facts.get("OSType") != "linux":
        words = f"its containers are {facts.get('OSType')}"
        yield Finding("containers", _FAULT, words, "switch the engine to Linux containers")


def _judge_transport(config: DockerTargetConfig) -> Finding:
    if config.engine.startswith(_SECURE):
        return Finding("transport", _OK, config.engine)
    if config.tls_ca:
        return Finding("transport", _OK, f"{config.engine} over TLS, both sides verified")
    remedy = "have it listen with TLS (dockerd --tlsverify), and give tls_ca, tls_cert and tls_key"
    words = f"{config.engine} without TLS: who reaches it owns its host"
    return Finding("transport", _WARNING, words, remedy)


def _judge_restart(facts: Mapping[str, Any]) -> Finding:
    if facts.get("LiveRestoreEnabled"):
        return Finding("restart", _OK, "runs outlive a restart of the engine (live-restore)")
    remedy = 'put {"live-restore": true} into /etc/docker/daemon.json and reload the engine'
    return Finding("restart", _WARNING, "a restart of the engine ends its runs", remedy)


def _judge_limits(facts: Mapping[str, Any], config: DockerTargetConfig) -> Iterator[Finding]:
    lacking = [
        words
        for words, key in (("memory", "MemoryLimit"), ("cpus", "CpuCfsQuota"))
        if not facts.get(key)
    ]
    if not lacking:
        yield Finding("limits", _OK, "memory and cpus can be bounded")
        return
    is_wanted = any(getattr(config, name) for name in lacking)
    remedy = "enable the kernel's control groups on the engine's host (cgroup_enable=memory)"
    words = f"the engine cannot bound {' and '.join(lacking)}"
    yield Finding("limits", _FAULT if is_wanted else _WARNING, words, remedy)


def _judge_gpus(facts: Mapping[str, Any], config: DockerTargetConfig) -> Iterator[Finding]:
    runtimes = sorted(facts.get("Runtimes") or {})
    if config.runtime is not None and config.runtime not in runtimes:
        remedy = f"install it, or name one of {', '.join(runtimes)} as `runtime`"
        yield Finding("runtime", _FAULT, f"there is no runtime {config.runtime!r}", remedy)
    if not config.gpus:
        yield Finding("gpu devices", _OK, "none declared")
        return
    words = ", ".join(config.gpus)
    if config.runtime is None and "nvidia" not in runtimes:
        remedy = "install the NVIDIA container toolkit there, and restart the engine"
        text = f"{words}, and the engine has no NVIDIA runtime"
        yield Finding("gpu devices", _WARNING, text, remedy)
    else:
        yield Finding("gpu devices", _OK, words)


def _judge_network(engine: Engine, config: DockerTargetConfig) -> Iterator[Finding]:
    if config.network is None:
        return
    with engine.asking() as client:
        try:
            client.inspect_network(config.network)
        except NotFound:
            remedy = f"`docker network create {config.network}` there, or name another `network`"
            yield Finding("network", _FAULT, f"there is no network {config.network!r}", remedy)
        else:
            yield Finding("network", _OK, config.network)


def _judge_image(config: DockerTargetConfig, images: Images) -> Finding:
    if config.image is None:
        return Finding("image", _OK, "none by default: an environment names its own")
    found = images.find(config.image)
    if found is None:
        return Finding("image", _OK, f"{config.image} is not there yet: the first run pulls it")
    return Finding("image", _OK, f"{config.image} ({found.id[:19]}), user {found.user or 'root'}")
