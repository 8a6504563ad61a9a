"""What an environment comes down to where a compute target runs images."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_mltrain.config.docker_section import ContainerOptions
from airflow_mltrain.config.environment import Environment
from airflow_mltrain.environments.plan import EnvironmentPlan, ImagePlan, plan_environment
from airflow_mltrain.errors import ConfigurationError

_OPTIONS = ContainerOptions(shm_size_bytes=2 * 1024**3)
_CONTEXT_ID = "0123456789abcdef" * 4


def _plan(environment: Environment | None) -> EnvironmentPlan:
    return plan_environment(environment, default_interpreter="python3", runs_images=True)


def test_without_an_environment_the_default_interpreter_runs_the_script() -> None:
    assert _plan(None) == EnvironmentPlan("python3")


@pytest.mark.parametrize(
    ("docker", "image"),
    [
        ({}, None),
        ({"arguments": [], "shm_size": "2g"}, None),
        (
            {"base_image": "python:3.12"},
            ImagePlan("python:3.12", None, None, "Dockerfile", _OPTIONS),
        ),
        (
            {"base_dockerfile": "FROM python:3.12"},
            ImagePlan(None, "FROM python:3.12", None, "Dockerfile", _OPTIONS),
        ),
        (
            {"build_context": {"snapshot_id": _CONTEXT_ID, "dockerfile_path": "a/gpu"}},
            ImagePlan(None, None, _CONTEXT_ID, "a/gpu", _OPTIONS),
        ),
        (
            {"shm_size": "1g", "arguments": ["--user", "1000"]},
            ImagePlan(None, None, None, "Dockerfile", ContainerOptions(1024**3, user="1000")),
        ),
    ],
)
def test_an_image_has_the_origin_that_was_given(
    docker: dict[str, Any], image: ImagePlan | None
) -> None:
    plan = _plan(Environment("e", docker=docker))

    assert plan.image == image


@pytest.mark.parametrize("docker", [{}, {"base_image": "python:3.12"}])
@pytest.mark.parametrize("python", [{}, {"constraints": ["numpy<2"], "index": {"pre": True}}])
def test_an_environment_without_packages_is_the_python_of_the_image_as_it_is(
    docker: dict[str, Any], python: dict[str, Any]
) -> None:
    plan = _plan(Environment("e", docker=docker, python=python))

    assert plan.interpreter == "python"
    assert plan.recipe is None


@pytest.mark.parametrize(
    "python", [{"packages": ["numpy"]}, {"version": "3.11"}, {"conda_packages": ["gdal"]}]
)
def test_packages_and_a_version_of_python_are_built_as_they_are_elsewhere(
    python: dict[str, Any],
) -> None:
    elsewhere = plan_environment(Environment("e", python=python), default_interpreter="python3")

    plan = _plan(Environment("e", python=python, docker={"base_image": "python:3.12"}))

    assert plan.recipe == elsewhere.recipe
    assert plan.recipe is not None
    assert plan.interpreter == "python"
    assert plan.image is not None


def test_a_user_managed_environment_uses_an_interpreter_of_the_image() -> None:
    environment = Environment.from_docker_image("e", "python:3.12")
    environment.python.interpreter_path = "/opt/conda/bin/python"

    plan = _plan(environment)

    assert plan.interpreter == "/opt/conda/bin/python"
    assert plan.recipe is None
    assert plan.image is not None


@pytest.mark.parametrize(
    ("docker", "key"),
    [
        ({"base_image": "{{ params.image }}"}, "docker.base_image"),
        ({"arguments": ["--user", "{{ params.user }}"]}, "DockerSection.arguments"),
        ({"shm_size": "{{ params.size }}"}, "shm_size"),
        (
            {"build_context": {"snapshot_id": _CONTEXT_ID, "dockerfile_path": "{{ ds }}"}},
            "docker.build_context.dockerfile_path",
        ),
    ],
)
def test_a_template_that_nothing_has_rendered_is_refused(docker: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        _plan(Environment("mine", docker=docker))

    assert str(refusal.value).startswith("environment 'mine': ")
    assert key in str(refusal.value)
    assert "templates are rendered in a Dag" in str(refusal.value)


def test_channels_without_conda_packages_are_refused_though_nothing_is_installed() -> None:
    environment = Environment("mine", python={"conda_channels": ["conda-forge"]})

    with pytest.raises(ConfigurationError, match=r"no python\.conda_packages"):
        _plan(environment)


def test_a_flag_that_was_put_into_the_list_in_place_is_refused() -> None:
    environment = Environment("mine")
    environment.docker.arguments.append("--privileged")

    with pytest.raises(
        ConfigurationError, match=r"docker\.arguments: .* --privileged in it is for"
    ):
        _plan(environment)
