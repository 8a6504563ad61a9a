"""The flags of `docker run` that an environment may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_mltrain.config.container_options import ContainerOptions
from airflow_mltrain.config.docker_section import DockerSection
from airflow_mltrain.errors import ConfigurationError

_TWO_GIGABYTES = 2 * 1024**3


def test_without_any_a_container_gets_two_gigabytes_of_shared_memory() -> None:
    assert DockerSection().options == ContainerOptions(shm_size_bytes=_TWO_GIGABYTES)


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--shm-size", "8g"], "shm_size_bytes", 8 * 1024**3),
        (["--shm-size=512M"], "shm_size_bytes", 512 * 1024**2),
        (["--shm-size=4096"], "shm_size_bytes", 4096),
        (["--network", "host"], "network", "host"),
        (["--net=training_net"], "network", "training_net"),
        (["--user", 1000], "user", "1000"),
        (["-u", "1000:100"], "user", "1000:100"),
        (["-utrainer"], "user", "trainer"),
        (["-u=trainer"], "user", "trainer"),
        (["--ipc", "private"], "ipc", "private"),
        (["--runtime=nvidia"], "runtime", "nvidia"),
        (["--ulimit", "nofile=1024:2048"], "ulimits", (("nofile", 1024, 2048),)),
        (["--ulimit", "memlock=-1"], "ulimits", (("memlock", -1, -1),)),
        (["--ulimit=core=5:-1"], "ulimits", (("core", 5, -1),)),
        (
            ["--ulimit", "stack=1", "--ulimit=core=0"],
            "ulimits",
            (("stack", 1, 1), ("core", 0, 0)),
        ),
        (["--add-host", "storage:10.0.0.7"], "add_hosts", (("storage", "10.0.0.7"),)),
        (["--add-host=storage=fe80::1"], "add_hosts", (("storage", "fe80::1"),)),
        (["--add-host", "storage:[::1]"], "add_hosts", (("storage", "::1"),)),
        (["--add-host", "host:host-gateway"], "add_hosts", (("host", "host-gateway"),)),
        (["--dns", "10.0.0.1", "--dns=10.0.0.2"], "dns", ("10.0.0.1", "10.0.0.2")),
        (["--tmpfs", "/scratch/", "--tmpfs=/tmp"], "tmpfs", ("/scratch", "/tmp")),  # noqa: S108 - in a container
    ],
)
def test_a_flag_is_understood_as_docker_run_does(
    arguments: list[Any], field: str, value: object
) -> None:
    options = DockerSection(arguments=arguments).options

    assert getattr(options, field) == value


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["-e", "A=hunter2"], "-e in it should be left out; give environment_variables"),
        (["-eA=hunter2"], "give environment_variables, of the environment or of run_config"),
        (["--env=A=hunter2"], "--env in it should be left out"),
        (["--env A=hunter2"], "--env in it should be left out"),
        (["--memory", "4g"], "give cpus, memory and gpus in run_config.resources"),
        (["-m4g"], "-m in it should be left out; give cpus, memory and gpus"),
        (["--gpus=all"], "give cpus, memory and gpus in run_config.resources"),
        (["--cpus", 2], "give cpus, memory and gpus in run_config.resources"),
        (["-v", "/data:/data"], "-v in it is for whoever owns the compute target to allow"),
        (["--mount", "type=bind"], "ask for it in the compute target's connection"),
        (["--privileged"], "--privileged in it is for whoever owns the compute target"),
        (["--device=/dev/fuse"], "--device in it is for whoever owns"),
        (["--pid=host"], "--pid in it is for whoever owns"),
        (["--ipc", "host"], "the host's shared memory is for whoever owns"),
        (["-it"], "-i in it should be left out; the compute target sees to it"),
        (["--rm"], "--rm in it should be left out; the compute target sees to it"),
        (["--sparkle"], "'--sparkle' in it is not understood; what is: --add-host, --dns, --ipc"),
        (["hunter2"], "each item should be a flag or the value right behind one"),
        (["--user", "me", "hunter2"], "each item should be a flag or the value right behind one"),
        ([""], "each item should be a flag or the value right behind one"),
        (["--shm-size 4g"], "two items of it, or --shm-size=VALUE"),
        (["--user"], "--user should be followed by its value"),
        (["--user", "a", "-u", "b"], "-u should be in it once"),
        (["--shm-size", "4 GB"], "such as '2g'"),
        (["--network", "container:other"], "it should be the name of a network"),
        (["--user", "me too"], "it should be a user's name or number"),
        (["--ipc", "container:x"], "it should be 'private', 'shareable' or 'none'"),
        (["--runtime", "/bin/sh"], "it should be the name of a runtime"),
        (["--ulimit", "nofile"], "such as 'nofile=1024:2048'"),
        (["--ulimit", "files=1"], "it should begin with one of core, cpu"),
        (["--ulimit", "nofile=2:1"], "its soft limit, the first, should not be above"),
        (["--ulimit", "nofile=-1:1"], "its soft limit, the first, should not be above"),
        (["--add-host", "storage"], "its address should be one of IPv4 or IPv6"),
        (["--add-host", "a b:10.0.0.1"], "it should be a host and its address"),
        (["--dns", "dns.example"], "its address should be one of IPv4 or IPv6"),
        (["--tmpfs", "scratch"], "it should be an absolute path"),
        (["--tmpfs", "/"], "it should be an absolute path"),
        (["--tmpfs", "/scratch:size=1g"], "it should be the path alone"),
    ],
)
def test_every_other_flag_is_refused_with_what_to_do_instead(
    arguments: list[Any], advice: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        DockerSection(arguments=arguments)

    assert str(refusal.value).startswith("DockerSection.arguments: a list was given; ")
    assert advice in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_a_refused_flag_changes_nothing() -> None:
    section = DockerSection(arguments=["--ipc", "none"])

    with pytest.raises(ConfigurationError, match="--privileged"):
        section.arguments = ["--privileged"]

    assert section.arguments == ["--ipc", "none"]


def test_the_size_of_shared_memory_is_said_once() -> None:
    with pytest.raises(ConfigurationError, match=r"--shm-size contradicts shm_size = '4g'"):
        DockerSection(shm_size="4g", arguments=["--shm-size", "8g"])


def test_a_size_that_contradicts_a_flag_is_refused_when_it_is_assigned() -> None:
    section = DockerSection(arguments=["--shm-size", "8g"])

    with pytest.raises(ConfigurationError, match="--shm-size contradicts shm_size"):
        section.shm_size = "4g"

    assert section.shm_size == "2g"


def test_the_same_size_twice_is_no_contradiction() -> None:
    section = DockerSection(shm_size="1g", arguments=["--shm-size", "1024m"])

    assert section.options.shm_size_bytes == 1024**3


def test_flags_are_looked_at_when_their_templates_are_rendered() -> None:
    section = DockerSection(arguments=["{{ params.flag }}", "--privileged"])

    with pytest.raises(ConfigurationError, match="Jinja template in it or in shm_size"):
        _ = section.options


def test_a_flag_that_was_put_into_the_list_in_place_is_refused_when_it_counts() -> None:
    section = DockerSection()
    section.arguments.append("--privileged")

    with pytest.raises(ConfigurationError, match="--privileged in it is for whoever owns"):
        _ = section.options
