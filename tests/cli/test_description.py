from __future__ import annotations

from typing import Any

import pytest

from airflow_mltrain import Environment
from airflow_mltrain.cli.description import describe, summarize

_PACKAGES = ["numpy", "pandas", "scikit-learn", "scipy", "torch"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "no packages"),
        ({"python": {"version": "3.11"}}, "Python 3.11; no packages"),
        ({"python": {"packages": _PACKAGES[:3]}}, "numpy, pandas, scikit-learn"),
        ({"python": {"packages": _PACKAGES}}, "numpy, pandas, scikit-learn and 2 more"),
        (
            {"python": {"packages": [f"numpy==1.0 --hash=sha256:{'0' * 64}"]}},
            "numpy==1.0",
        ),
        (
            {"python": {"conda_packages": ["numpy=1.26"], "packages": ["scipy"]}},
            "numpy=1.26, scipy",
        ),
        (
            {"python": {"user_managed_dependencies": True, "interpreter_path": "/opt/py"}},
            "/opt/py as it is",
        ),
        ({"docker": {"base_image": "python:3.11"}}, "no packages; image python:3.11"),
        ({"spark": {"packages": ["a:b:1"]}}, "no packages; Spark with a:b:1"),
    ],
)
def test_an_environment_is_summed_up_on_one_line(fields: dict[str, Any], words: str) -> None:
    # given
    environment = Environment("churn", **fields)

    # when
    summary = summarize(environment)

    # then
    assert summary == words


def test_everything_that_was_asked_for_is_described() -> None:
    # given
    environment = Environment(
        "churn",
        version="3",
        environment_variables={"OMP_NUM_THREADS": "4"},
        python={
            "constraints": ["scipy<2"],
            "index": {
                "url": "https://packages.example.org/index/",
                "no_index": True,
                "pre": True,
                "only_binary": ["numpy"],
            },
            "conda_packages": ["numpy=1.26"],
            "conda_channels": ["conda-forge"],
        },
        docker={"shm_size": "4g"},
        spark={"configuration": {"spark.executor.cores": "2"}},
    )
    lock = {"conda": ["https://packages.example.org/numpy.conda"], "packages": []}

    # when
    described = describe(environment, ["production", "stable"], {"conda-linux-x86_64": lock})

    # then
    assert described.splitlines() == [
        "name                  churn",
        "version               3",
        "labels                production",
        "                      stable",
        "python                the one of the compute target",
        "packages              none",
        "constraints           scipy<2",
        "conda packages        numpy=1.26",
        "conda channels        conda-forge",
        "index                 https://packages.example.org/index/",
        "index options         no index",
        "                      pre",
        "only binary           numpy",
        "variables             OMP_NUM_THREADS",
        "docker shm_size       4g",
        "spark configuration   spark.executor.cores = 2",
        "resolved on           conda-linux-x86_64",
        "                      https://packages.example.org/numpy.conda",
    ]
