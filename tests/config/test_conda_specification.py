"""A conda specification, as Azure ML and conda take it."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.errors import ConfigurationError


def make(folder: Path, text: str) -> Environment:
    (folder / "conda.yml").write_text(text)
    return Environment.from_conda_specification("mine", file_path=folder / "conda.yml")


def refuse(folder: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as refusal:
        make(folder, text)
    return str(refusal.value).replace(f"{folder}/", "")


def test_python_and_pip_packages_need_no_conda(tmp_path: Path) -> None:
    text = """
name: theirs
prefix: /opt/conda/envs/theirs
channels: [conda-forge, defaults]
dependencies:
  - python=3.10
  - pip>=20
  - pip:
      - scikit-learn==1.7.2
      - --extra-index-url https://packages.example.org/index/
      - NumPy
variables:
  SEED: 1.0
  DEBUG: yes
"""

    environment = make(tmp_path, text)

    assert environment == Environment(
        "mine",
        environment_variables={"SEED": "1.0", "DEBUG": "yes"},
        python={
            "version": "3.10",
            "packages": ["scikit-learn==1.7.2", "NumPy"],
            "index": {"extra_urls": ["https://packages.example.org/index/"]},
        },
    )


def test_other_packages_are_conda_packages_from_the_channels(tmp_path: Path) -> None:
    text = """
channels: [conda-forge, defaults]
dependencies: [python>=3.9, "numpy=1.26", conda-forge::gdal, pip, pip: [a]]
"""

    python = make(tmp_path, text).python

    assert python.conda_packages == ["numpy=1.26", "conda-forge::gdal", "python>=3.9"]
    assert python.conda_channels == ["conda-forge", "defaults"]
    assert python.packages == ["a"]
    assert python.version is None


@pytest.mark.parametrize(
    ("written", "version"),
    [
        ("python=3.10", "3.10"),
        ("python==3.10.4", "3.10.4"),
        ("python = 3.11.*", "3.11"),
        ("python", None),
    ],
)
def test_an_exact_python_becomes_the_version(
    tmp_path: Path, written: str, version: str | None
) -> None:
    environment = make(tmp_path, f"dependencies: [{written}]")

    assert environment.python.version == version
    assert environment.python.conda_packages == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "a: 1\ndependancies: []",
            "conda.yml:1: 'a' is no key of it; the keys are name, channels",
        ),
        ("dependencies:\n- python>=3.9", "conda.yml:2: 'python>=3.9' names no exact version"),
        ("dependencies:\n- python=3.6", "conda.yml:2: 'python=3.6' was given; it should be '3.8'"),
        ("dependencies:\n- python=3.9\n- python=3.10", "conda.yml:3: python was asked for twice"),
        ("dependencies:\n- a b c", "conda.yml:2: 'a b c' was given; it should be a package as"),
        ("dependencies:\n- npm: [a]", "conda.yml:2: 'npm' should be a package, or 'pip'"),
        (
            "dependencies:\n- pip:\n  - -r more.txt",
            "conda.yml:3: --requirement cannot be followed",
        ),
        ("dependencies:\n- pip:\n  - -e .", "conda.yml:3: an editable install is a folder"),
        ("dependencies:\n- pip:\n  - numpy=1", "conda.yml:3: 'numpy=1' was given; it should have"),
        ("dependencies: numpy", "conda.yml:1: a list should be here"),
        ("dependencies:\n- [a]", "conda.yml:2: text should be here"),
        ("variables:\n  A:", "conda.yml:2: text should be here"),
        ("name: a\nname: b", "conda.yml:2: 'name' is here twice"),
        ("channels: ['https://a:b@example.org/']", "conda.yml:1: 'https://****@example.org/' was"),
        ("- numpy", "conda.yml:1: a mapping should be here"),
        ("a: b: c", "conda.yml:1: this is not YAML"),
        ("a: \x00", "conda.yml: this is not YAML"),
    ],
)
def test_what_is_not_understood_is_refused_with_file_and_line(
    tmp_path: Path, text: str, fault: str
) -> None:
    assert refuse(tmp_path, text).startswith(fault)


@pytest.mark.parametrize("text", ["", "dependencies:\n", "# nothing\n"])
def test_a_specification_may_ask_for_nothing(tmp_path: Path, text: str) -> None:
    assert make(tmp_path, text) == Environment("mine")


def test_a_specification_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"conda\.yml cannot be read: No such file"):
        Environment.from_conda_specification("mine", tmp_path / "conda.yml")


@pytest.mark.parametrize("asked", ["python 3.10", "conda-forge::python=3.10", "python 3.10.*"])
def test_python_may_be_asked_for_in_all_ways_of_conda(tmp_path: Path, asked: str) -> None:
    python = make(tmp_path, f"dependencies: ['{asked}']").python

    assert python.version == "3.10"
    assert python.conda_packages == []


def test_any_python_of_a_channel_needs_no_conda(tmp_path: Path) -> None:
    python = make(tmp_path, "dependencies: ['conda-forge::python']").python

    assert (python.version, python.conda_packages) == (None, [])


def test_python_comes_from_its_channel_where_conda_is_needed_anyway(tmp_path: Path) -> None:
    python = make(tmp_path, "dependencies: ['conda-forge::python=3.10', gdal]").python

    assert python.version is None
    assert python.conda_packages == ["gdal", "conda-forge::python=3.10"]


@pytest.mark.parametrize(
    "text",
    [
        "dependencies:\n- 'numpy={{ version }}'",
        "dependencies:\n- pip:\n  - numpy=={{ version }}",
        "channels:\n- '{{ channel }}'",
    ],
)
def test_a_template_in_a_file_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    line = len(text.splitlines())

    assert f"conda.yml:{line}: nothing renders a Jinja template" in refuse(tmp_path, text)


def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    assert "nested too deeply" in refuse(tmp_path, "[" * 5000 + "]" * 5000)
