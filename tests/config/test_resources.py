"""How much of a machine a run may use."""

from __future__ import annotations

import pytest

from airflow_mltrain.config.resources import ResourcesSection
from airflow_mltrain.config.run_configuration import RunConfiguration
from airflow_mltrain.errors import ConfigurationError


def test_a_run_that_asks_for_nothing_is_not_bounded_and_gets_no_gpu() -> None:
    resources = RunConfiguration().resources

    assert (resources.cpus, resources.memory, resources.gpus) == (None, None, 0)
    assert resources.memory_bytes is None


def test_resources_are_given_as_a_mapping_or_attribute_by_attribute() -> None:
    configuration = RunConfiguration.model_validate({"resources": {"cpus": 1.5, "memory": "4g"}})

    configuration.resources.gpus = 2

    assert configuration.resources == ResourcesSection(cpus=1.5, memory="4g", gpus=2)


@pytest.mark.parametrize(
    ("size", "size_bytes"),
    [
        ("6m", 6 * 1024**2),
        ("4G", 4 * 1024**3),
        ("512000k", 512_000 * 1024),
        ("8000000000", 8 * 10**9),
    ],
)
def test_memory_is_written_as_docker_writes_it(size: str, size_bytes: int) -> None:
    assert ResourcesSection(memory=size).memory_bytes == size_bytes


@pytest.mark.parametrize(
    ("field", "value", "right"),
    [
        ("cpus", 0, "greater than 0"),
        ("cpus", -1, "greater than 0"),
        ("cpus", float("inf"), "10000"),
        ("cpus", float("nan"), "greater than 0"),
        ("cpus", True, "it should be a number"),
        ("memory", "4 GB", "such as '2g'"),
        ("memory", "0", "such as '2g'"),
        ("memory", "9999999999g", "less than any machine has"),
        ("memory", "4096", "6m or more, and have a unit"),
        ("memory", 4096, "valid string"),
        ("gpus", -1, "greater than or equal to 0"),
        ("gpus", 0.5, "valid integer"),
        ("gpus", "all", "valid integer"),
        ("gpus", True, "it should be a number"),
    ],
)
def test_what_no_machine_gives_is_refused(field: str, value: object, right: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        RunConfiguration.model_validate({"resources": {field: value}})

    assert str(refusal.value).startswith(f"RunConfiguration.resources.{field}: ")
    assert right in str(refusal.value)


def test_memory_that_a_template_names_is_read_once_that_is_rendered() -> None:
    resources = ResourcesSection(memory="{{ params.memory }}")

    with pytest.raises(ConfigurationError, match=r"memory: '\{\{ params\.memory \}\}' was given"):
        _ = resources.memory_bytes


def test_a_resource_that_is_given_one_level_too_high_is_pointed_to_its_place() -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean resources\.cpus\?"):
        RunConfiguration.model_validate({"cpus": 2})
