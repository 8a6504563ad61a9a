"""The environments that come with the package."""

from __future__ import annotations

import shutil

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.environments.curated import CURATED_NAMES, find_curated
from airflow_mltrain.environments.plan import plan_environment


@pytest.mark.parametrize("name", CURATED_NAMES)
def test_every_curated_environment_can_be_used_as_it_is(name: str) -> None:
    environment = find_curated(name)

    plan = plan_environment(environment, default_interpreter="/nowhere/python")

    assert environment is not None
    assert environment.name == name
    assert shutil.which(plan.interpreter)


def test_the_minimal_environment_installs_nothing() -> None:
    environment = find_curated("MLTrain-Minimal")

    assert environment is not None
    assert environment.python.user_managed_dependencies


def test_changing_a_curated_environment_changes_no_other_copy_of_it() -> None:
    changed = find_curated("MLTrain-Minimal")
    assert changed is not None

    changed.python.interpreter_path = "/opt/bin/python"
    changed.environment_variables["SEED"] = "1"

    untouched = find_curated("MLTrain-Minimal")
    assert untouched is not None
    assert untouched.python.interpreter_path == "python3"
    assert untouched.environment_variables == {}


def test_a_curated_environment_is_cloned_to_be_changed() -> None:
    minimal = find_curated("MLTrain-Minimal")
    assert minimal is not None

    clone = minimal.clone("mine")

    assert isinstance(clone, Environment)
    assert clone.python == minimal.python


def test_a_name_that_is_not_curated_is_not_found() -> None:
    assert find_curated("AzureML-Minimal") is None
