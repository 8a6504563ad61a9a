"""What an environment comes down to when a job is started."""

from __future__ import annotations

import hashlib

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.environments.plan import EnvironmentPlan, plan_environment
from airflow_mltrain.errors import ConfigurationError


def test_without_an_environment_the_default_interpreter_runs_the_script() -> None:
    plan = plan_environment(None, default_interpreter="/usr/bin/python3")

    assert plan == EnvironmentPlan("/usr/bin/python3", {}, None)


def test_an_environment_that_asks_for_nothing_is_an_isolated_python_and_its_variables() -> None:
    environment = Environment("e", environment_variables={"SEED": "1"})

    plan = plan_environment(environment, default_interpreter="/usr/bin/python3")

    assert plan.interpreter == "python"
    assert plan.environment_variables == {"SEED": "1"}
    assert plan.recipe is not None
    assert plan.recipe["packages"] == []


def test_a_user_managed_environment_uses_the_interpreter_as_it_is_and_builds_nothing() -> None:
    environment = Environment("e")
    environment.python.user_managed_dependencies = True
    environment.python.interpreter_path = "venv/bin/python"

    plan = plan_environment(environment, default_interpreter="/usr/bin/python3")

    assert plan == EnvironmentPlan("venv/bin/python", {}, None)
    assert plan.wheel_digests == frozenset()


def test_an_interpreter_without_user_managed_dependencies_is_refused_with_the_remedy() -> None:
    environment = Environment("mine", python={"interpreter_path": "/opt/bin/python"})

    with pytest.raises(ConfigurationError) as refusal:
        plan_environment(environment, default_interpreter="python3")

    assert "environment 'mine': python.interpreter_path = '/opt/bin/python'" in str(refusal.value)
    assert "python.user_managed_dependencies = True" in str(refusal.value)


@pytest.mark.parametrize("is_user_managed", [True, False])
@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("docker", "base_image", "python:3.12"),
        ("docker", "base_dockerfile", "FROM python:3.12"),
        ("docker", "arguments", ["--ipc=none"]),
        ("docker", "shm_size", "8g"),
        ("docker", "build_context", {"snapshot_id": "0" * 64}),
    ],
)
def test_an_image_is_refused_by_its_key_where_no_images_are_run(
    section: str, key: str, value: object, *, is_user_managed: bool
) -> None:
    environment = Environment("mine", **{section: {key: value}})
    environment.python.user_managed_dependencies = is_user_managed

    with pytest.raises(ConfigurationError) as refusal:
        plan_environment(environment, default_interpreter="python3")

    assert f"environment 'mine': {section}.{key} was given" in str(refusal.value)
    assert "this compute target runs no images" in str(refusal.value)


@pytest.mark.parametrize("runs_images", [True, False])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("packages", ["org.example:connector:1.0"]),
        ("repositories", ["https://example.org/maven"]),
        ("configuration", {"spark.executor.cores": "2"}),
    ],
)
def test_what_spark_needs_is_refused_by_its_key(
    key: str, value: object, *, runs_images: bool
) -> None:
    environment = Environment("mine", spark={key: value})

    with pytest.raises(ConfigurationError) as refusal:
        plan_environment(environment, default_interpreter="python3", runs_images=runs_images)

    assert f"environment 'mine': spark.{key} was given" in str(refusal.value)
    assert "sets up no Spark" in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", "3.11"),
        ("packages", ["numpy"]),
        ("constraints", ["numpy<2"]),
        ("index", {"pre": True}),
        ("conda_packages", ["numpy=1.26"]),
        ("conda_channels", ["conda-forge"]),
    ],
)
def test_a_user_managed_environment_does_not_silently_leave_things_out(
    key: str, value: object
) -> None:
    environment = Environment("mine", python={key: value, "user_managed_dependencies": True})

    with pytest.raises(ConfigurationError, match=rf"environment 'mine': python\.{key} was given"):
        plan_environment(environment, default_interpreter="python3")


def test_everything_that_contradicts_a_user_managed_environment_is_named_at_once() -> None:
    python = {"packages": ["numpy"], "version": "3.11", "user_managed_dependencies": True}

    with pytest.raises(ConfigurationError, match=r"python\.version, python\.packages was given"):
        plan_environment(Environment("mine", python=python), default_interpreter="python3")


def test_what_was_put_into_a_list_in_place_is_looked_at_again() -> None:
    environment = Environment("mine")
    environment.python.packages.append("numpy 1")

    with pytest.raises(ConfigurationError, match=r"Environment\.python\.packages\[0\]: 'numpy 1'"):
        plan_environment(environment, default_interpreter="python3")


def test_a_plan_keeps_its_content_when_the_environment_changes_later() -> None:
    environment = Environment(
        "e", environment_variables={"SEED": "1"}, python={"packages": ["numpy"]}
    )
    plan = plan_environment(environment, default_interpreter="python3")

    environment.environment_variables["SEED"] = "2"
    environment.python.packages.append("scipy")

    assert plan.environment_variables == {"SEED": "1"}
    assert plan.recipe is not None
    assert plan.recipe["packages"] == ["numpy"]


def test_a_recipe_is_known_by_the_hash_of_its_canonical_json() -> None:
    plan = EnvironmentPlan("python", {}, {"b": [1, "é"], "a": None})

    assert plan.recipe_id == hashlib.sha256(rb'{"a":null,"b":[1,"\u00e9"]}').hexdigest()


def test_the_wheels_that_have_to_travel_are_known_by_their_content() -> None:
    digest = "0123456789abcdef" * 4
    packages = ["numpy", f"a @ mltrain-wheel:{digest}/a-1.0-py3-none-any.whl"]

    plan = plan_environment(
        Environment("e", python={"packages": packages}), default_interpreter="python3"
    )

    assert plan.wheel_digests == {digest}


def test_printing_a_plan_shows_no_variable() -> None:
    assert "hunter2" not in repr(EnvironmentPlan("python3", {"TOKEN": "hunter2"}))
