"""CondaDependencies, by which submission code for Azure ML names packages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain import CondaDependencies, Environment, RunConfiguration
from airflow_mltrain.errors import ConfigurationError

PASSWORD = "s3cret-w0rd"  # noqa: S105 - of nobody


def test_packages_are_named_as_in_azure_ml() -> None:
    dependencies = CondaDependencies.create(
        "https://index.example/index",
        ["scikit-learn==1.5.0", "pandas"],
        ["python=3.10", "numpy=1.26", "pip"],
    )
    dependencies.add_pip_package("Scikit_Learn>=1.6")
    dependencies.add_conda_package("numpy=2.1")
    dependencies.remove_pip_package("pandas")
    dependencies.add_channel("conda-forge")
    dependencies.set_pip_option("--extra-index-url https://other.example/index")

    environment = Environment("mine")
    environment.python.conda_dependencies = dependencies

    python = environment.python
    assert (python.version, python.packages) == ("3.10", ["Scikit_Learn>=1.6"])
    assert (python.conda_packages, python.conda_channels) == (["numpy=2.1"], ["conda-forge"])
    assert python.index.url == "https://index.example/index"
    assert python.index.extra_urls == ["https://other.example/index"]
    assert dependencies.conda_packages == ["python=3.10", "numpy=2.1"]
    assert dependencies.get_python_version() == "3.10"


def test_what_is_changed_later_changes_the_environment_too() -> None:
    dependencies, first, second = CondaDependencies(), Environment("a"), Environment("b")
    first.python.conda_dependencies = dependencies
    second.python.conda_dependencies = dependencies

    dependencies.add_pip_package("numpy")
    first.python.conda_dependencies.add_pip_package("pandas")

    assert first.python.packages == ["numpy", "pandas"]
    assert second.python.packages == ["numpy"]


def test_a_run_configuration_takes_them() -> None:
    given: dict[str, Any] = {"conda_dependencies": CondaDependencies.create(pip_packages=["a"])}

    run_config = RunConfiguration(**given)

    assert isinstance(run_config.environment, Environment)
    assert run_config.environment.python.packages == ["a"]
    with pytest.raises(ConfigurationError, match="both given"):
        RunConfiguration(environment="a", **given)


def test_a_saved_file_is_read_again_and_holds_no_credentials(tmp_path: Path) -> None:
    dependencies = CondaDependencies.create(
        f"https://me:{PASSWORD}@index.example/index", ["a==1"], ["libgcc=13"], "3.11"
    )

    name = dependencies.save_to_file(tmp_path)

    read = CondaDependencies(tmp_path / name)
    assert PASSWORD not in (tmp_path / name).read_text() + repr(dependencies)
    assert read.as_dict() == dependencies.as_dict()
    assert read.as_dict()["dependencies"] == [
        "python=3.11",
        "libgcc=13",
        {"pip": ["--index-url https://index.example/index", "a==1"]},
    ]


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        (lambda: CondaDependencies.create(python_version="3.6.2"), "3.8"),
        (lambda: CondaDependencies().add_pip_package("a b"), r"packages\[0\]"),
        (lambda: CondaDependencies().set_pip_option("--editable ."), "wheel"),
        (lambda: CondaDependencies().add_tensorflow_pip_package(), "add_pip_package"),  # type: ignore[attr-defined]
        (lambda: CondaDependencies("absent.yml"), "absent.yml"),
    ],
)
def test_what_cannot_be_is_refused(wrong: object, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        wrong()  # type: ignore[operator]


def test_azure_mls_sdk_among_the_packages_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"azureml-defaults: .*leave it out"):
        CondaDependencies.create(pip_packages=["azureml-defaults"])
