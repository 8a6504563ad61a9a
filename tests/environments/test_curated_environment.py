"""The environments that come with the package."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.environments.curated import (
    CURATED_NAMES,
    RESERVED_PREFIX,
    find_curated,
    suggest_curated,
)
from airflow_mltrain.environments.plan import plan_environment


def curated(name: str) -> Environment:
    environment = find_curated(name)
    assert environment is not None
    return environment


@pytest.mark.parametrize("name", CURATED_NAMES)
def test_every_curated_environment_can_be_used_as_it_is(name: str) -> None:
    environment = curated(name)

    plan = plan_environment(environment, default_interpreter="/nowhere/python")

    assert plan.recipe is not None
    assert (environment.name, environment.version) == (name, "1")
    assert name.startswith(RESERVED_PREFIX)


@pytest.mark.parametrize("name", CURATED_NAMES)
def test_every_package_of_a_curated_environment_has_one_exact_version(name: str) -> None:
    requirements = [Requirement(line) for line in curated(name).python.packages]

    specifiers = [str(requirement.specifier) for requirement in requirements]

    assert all(specifier.startswith("==") for specifier in specifiers)
    assert len({requirement.name for requirement in requirements}) == len(requirements)


def test_the_minimal_environment_is_an_isolated_python_without_packages() -> None:
    minimal = curated("MLTrain-Minimal")

    assert not minimal.python.user_managed_dependencies
    assert minimal.python.packages == []


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("MLTrain-Scikit-Learn", "scikit-learn"),
        ("MLTrain-PyTorch-CPU", "torch"),
        ("MLTrain-Gradient-Boosting", "lightgbm"),
        ("MLTrain-Gradient-Boosting", "xgboost-cpu"),
        ("MLTrain-PySpark", "pyspark"),
    ],
)
def test_a_curated_environment_has_what_its_name_says(name: str, package: str) -> None:
    packages = [Requirement(line).name for line in curated(name).python.packages]

    assert package in packages


def test_changing_a_curated_environment_changes_no_other_copy_of_it() -> None:
    changed = curated("MLTrain-Scikit-Learn")

    changed.python.packages.clear()
    changed.environment_variables["SEED"] = "1"

    assert curated("MLTrain-Scikit-Learn").python.packages
    assert curated("MLTrain-Scikit-Learn").environment_variables == {}


def test_a_curated_environment_is_cloned_to_be_changed() -> None:
    clone = curated("MLTrain-Scikit-Learn").clone("mine")

    assert clone.version is None
    assert clone.python == curated("MLTrain-Scikit-Learn").python


def test_a_curated_environment_has_versions() -> None:
    assert find_curated("MLTrain-Minimal", 1) == find_curated("MLTrain-Minimal", "1")
    assert find_curated("MLTrain-Minimal", 1) == find_curated("MLTrain-Minimal")
    assert find_curated("MLTrain-Minimal", 2) is None


def test_a_name_that_is_not_curated_is_not_found() -> None:
    assert find_curated("AzureML-Minimal") is None


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("AzureML-Minimal", "MLTrain-Minimal"),
        ("AzureML-sklearn-1.0-ubuntu20.04-py38-cpu", "MLTrain-Scikit-Learn"),
        ("AzureML-pytorch-1.10-ubuntu18.04-py38-cuda11-gpu", "MLTrain-PyTorch-CPU"),
        ("AzureML-ACPT-pytorch-1.11-py38-cuda11.3-gpu", "MLTrain-PyTorch-CPU"),
        ("acpt-pytorch-2.2-cuda12.1", "MLTrain-PyTorch-CPU"),
        ("AzureML-lightgbm-3.2-ubuntu18.04-py37-cpu", "MLTrain-Gradient-Boosting"),
        ("AzureML-PySpark-MmlSpark-0.15", "MLTrain-PySpark"),
        ("AzureML-tensorflow-2.4-ubuntu18.04-py37-cpu-inference", None),
        ("sklearn", None),
    ],
)
def test_one_of_ours_is_suggested_for_one_of_azure_mls(name: str, suggestion: str | None) -> None:
    assert suggest_curated(name) == suggestion
