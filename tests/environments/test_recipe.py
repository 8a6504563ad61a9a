"""What a recipe says, and that equal environments have equal ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.environments.plan import EnvironmentPlan, plan_environment
from airflow_mltrain.errors import ConfigurationError

DIGEST = "0123456789abcdef" * 4
NOTHING_SET: dict[str, Any] = {
    "url": None,
    "extra_urls": [],
    "find_links": [],
    "no_index": False,
    "pre": False,
    "no_binary": [],
    "only_binary": [],
    "trusted_hosts": [],
}


def plan(**python: Any) -> EnvironmentPlan:
    return plan_environment(Environment("mine", python=python), default_interpreter="python3")


def recipe(**python: Any) -> dict[str, Any]:
    return dict(plan(**python).recipe or {})


def refuse(**python: Any) -> str:
    with pytest.raises(ConfigurationError) as refusal:
        plan(**python)
    return str(refusal.value)


def test_a_recipe_says_everything_that_matters_and_nothing_else() -> None:
    found = recipe(
        version="3.11", packages=["SciPy", "numpy>=1 , <3", "scipy"], constraints=["joblib<2"]
    )

    assert found == {
        "format": 1,
        "python": "3.11",
        "packages": ["numpy<3,>=1", "scipy"],
        "constraints": ["joblib<2"],
        "index": NOTHING_SET,
        "conda": None,
    }


@given(packages=st.permutations(["numpy>=1,<2", "scipy[fast]", "a ; python_version<'3.9'", "b"]))
def test_the_order_of_packages_does_not_change_the_recipe(packages: list[str]) -> None:
    assert plan(packages=packages).recipe_id == plan(packages=sorted(packages)).recipe_id


@pytest.mark.parametrize(
    ("python", "same"),
    [
        ({"packages": ["Num_Py<2,>=1"]}, {"packages": ["num-py >= 1, < 2"]}),
        ({"packages": ["a[y,x]"]}, {"packages": ["a[x, y]", "A[x,y]"]}),
        ({"constraints": ["b", "a"]}, {"constraints": ["a", "b", "a"]}),
        (
            {"index": {"trusted_hosts": ["b.example", "A.example"]}},
            {"index": {"trusted_hosts": ["a.example", "b.example"]}},
        ),
        (
            {"index": {"no_binary": ["a", ":none:", "c", "b"]}},
            {"index": {"no_binary": ["b", "c", "b"]}},
        ),
        ({"index": {"only_binary": ["a", ":all:"]}}, {"index": {"only_binary": [":all:"]}}),
        (
            {"index": {"url": "https://me:hunter2@a.example/"}},
            {"index": {"url": "https://you:${TOKEN}@a.example/"}},
        ),
        (
            {"conda_packages": ["b", "a  =1"], "version": "3.11"},
            {"conda_packages": ["a =1", "python=3.11", "b"]},
        ),
    ],
)
def test_what_does_not_matter_does_not_change_the_recipe(
    python: dict[str, Any], same: dict[str, Any]
) -> None:
    assert plan(**python).recipe_id == plan(**same).recipe_id


@pytest.mark.parametrize(
    "python",
    [
        {"version": "3.11"},
        {"packages": ["numpy>=1"]},
        {"constraints": ["numpy"]},
        {"index": {"url": "https://a.example/"}},
        {"index": {"extra_urls": ["https://a.example/", "https://b.example/"]}},
        {"index": {"extra_urls": ["https://b.example/", "https://a.example/"]}},
        {"index": {"pre": True}},
        {"conda_packages": ["numpy"]},
        {"conda_packages": ["numpy"], "conda_channels": ["conda-forge"]},
    ],
)
def test_what_matters_changes_the_recipe(python: dict[str, Any]) -> None:
    others = [{}, {"packages": ["numpy"]}, {"conda_packages": ["numpy", "gdal"]}]

    assert plan(**python).recipe_id not in {plan(**other).recipe_id for other in others}


def test_names_versions_and_variables_do_not_change_the_recipe() -> None:
    first = Environment("a", version="1", environment_variables={"SEED": "1"})

    plans = [
        plan_environment(environment, default_interpreter="x")
        for environment in (first, first.clone("b"), Environment("c"))
    ]

    assert len({plan.recipe_id for plan in plans}) == 1


def test_a_recipe_is_plain_data() -> None:
    found = recipe(packages=["numpy"], index={"url": "https://a.example/"})

    assert json.loads(json.dumps(found)) == found


def test_where_packages_have_hashes_those_that_their_urls_say_are_written_out() -> None:
    wheel = f"mine @ mltrain-wheel:{DIGEST}/mine-1.0-py3-none-any.whl"

    found = recipe(packages=[wheel, f"a==1 --hash=sha256:{DIGEST}"])

    assert found["packages"] == [
        f"a==1 --hash=sha256:{DIGEST}",
        f"{wheel} --hash=sha256:{DIGEST}",
    ]


def test_conda_brings_the_python_of_an_environment_that_needs_conda() -> None:
    python = {"conda_packages": ["gdal=3.9"], "conda_channels": ["b", "a", "b"], "packages": ["c"]}

    assert recipe(**python)["python"] is None
    assert recipe(**python)["conda"] == {
        "packages": ["gdal=3.9", "python"],
        "channels": ["b", "a"],
    }
    assert recipe(**python, version="3.11")["python"] is None
    assert recipe(**python, version="3.11")["conda"]["packages"] == ["gdal=3.9", "python=3.11"]


def test_python_cannot_be_asked_for_twice() -> None:
    fault = refuse(version="3.11", conda_packages=["conda-forge::python>=3.9"])

    assert "environment 'mine': python.version = '3.11' and 'python' in" in fault


def test_channels_that_nothing_is_taken_from_are_refused() -> None:
    assert "no python.conda_packages" in refuse(conda_channels=["conda-forge"])


def test_a_package_cannot_be_built_and_not_be_built_from_source() -> None:
    index = {"no_binary": ["a", "b"], "only_binary": ["B"]}

    assert "b stands both in python.index.no_binary and in only_binary" in refuse(index=index)


@pytest.mark.parametrize(
    ("python", "key"),
    [
        ({"packages": ["numpy=={{ params.numpy }}"]}, "python.packages"),
        ({"index": {"url": "{{ conn.packages.host }}"}}, "python.index.url"),
        ({"version": "{{ params.python }}"}, "python.version"),
    ],
)
def test_a_template_that_nothing_rendered_is_refused_by_its_key(
    python: dict[str, Any], key: str
) -> None:
    assert f"environment 'mine': {key} has a Jinja template" in refuse(**python)
