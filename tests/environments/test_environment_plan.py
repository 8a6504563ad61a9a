"""What an environment comes down to when a job is started."""

from __future__ import annotations

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.environments.plan import EnvironmentPlan, plan_environment
from airflow_mltrain.errors import ConfigurationError


def test_without_an_environment_the_default_interpreter_runs_the_script() -> None:
    plan = plan_environment(None, default_interpreter="/usr/bin/python3")

    assert plan == EnvironmentPlan("/usr/bin/python3", {})


def test_an_environment_that_asks_for_nothing_is_the_default_interpreter_and_its_variables() -> (
    None
):
    environment = Environment("e", environment_variables={"SEED": "1"})

    plan = plan_environment(environment, default_interpreter="/usr/bin/python3")

    assert plan == EnvironmentPlan("/usr/bin/python3", {"SEED": "1"})


def test_a_user_managed_environment_uses_the_interpreter_as_it_is() -> None:
    environment = Environment("e")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = "venv/bin/python"

    plan = plan_environment(environment, default_interpreter="/usr/bin/python3")

    assert plan.interpreter == "venv/bin/python"


def test_an_interpreter_without_user_managed_dependencies_is_refused_with_the_remedy() -> None:
    environment = Environment("mine", python={"interpreter_path": "/opt/bin/python"})

    with pytest.raises(ConfigurationError) as refusal:
        plan_environment(environment, default_interpreter="python3")

    assert "environment 'mine': python.interpreter_path = '/opt/bin/python'" in str(refusal.value)
    assert "python.user_managed_dependencies = True" in str(refusal.value)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("python", "packages", ["scikit-learn"]),
        ("docker", "base_image", "python:3.12"),
        ("docker", "base_dockerfile", "FROM python:3.12"),
        ("docker", "arguments", ["--gpus=all"]),
        ("docker", "shm_size", "8g"),
        ("spark", "packages", ["org.example:connector:1.0"]),
        ("spark", "repositories", ["https://example.org/maven"]),
        ("spark", "configuration", {"spark.executor.cores": "2"}),
    ],
)
def test_what_nobody_would_build_is_refused_by_its_key(
    section: str, key: str, value: object
) -> None:
    environment = Environment("mine", **{section: {key: value}})

    with pytest.raises(ConfigurationError) as refusal:
        plan_environment(environment, default_interpreter="python3")

    assert "environment 'mine'" in str(refusal.value)
    assert f"{section}.{key}" in str(refusal.value)
    assert "python.user_managed_dependencies = True" in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("python.packages", {"python": {"packages": ["numpy"]}}),
        ("docker.base_image", {"docker": {"base_image": "python:3.12"}}),
    ],
)
def test_a_user_managed_environment_does_not_silently_leave_things_out(
    key: str, content: dict[str, object]
) -> None:
    environment = Environment("mine", **content)
    environment.python.user_managed_dependencies = True

    with pytest.raises(ConfigurationError, match=f"environment 'mine': {key} was given"):
        plan_environment(environment, default_interpreter="python3")


def test_everything_that_cannot_be_had_is_named_at_once() -> None:
    environment = Environment(
        "mine", python={"packages": ["numpy"]}, docker={"base_image": "python:3.12"}
    )

    with pytest.raises(ConfigurationError, match=r"python\.packages, docker\.base_image"):
        plan_environment(environment, default_interpreter="python3")


def test_a_plan_keeps_its_variables_when_the_environment_changes_later() -> None:
    environment = Environment("e", environment_variables={"SEED": "1"})
    plan = plan_environment(environment, default_interpreter="python3")

    environment.environment_variables["SEED"] = "2"

    assert plan.environment_variables == {"SEED": "1"}


def test_printing_a_plan_shows_no_variable() -> None:
    assert "hunter2" not in repr(EnvironmentPlan("python3", {"TOKEN": "hunter2"}))
