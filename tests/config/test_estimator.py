"""Estimators, DockerConfiguration and other names of Azure ML's SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import airflow_mltrain
from airflow_mltrain import (
    DockerConfiguration,
    Environment,
    Estimator,
    PyTorch,
    RunConfiguration,
    ScriptRunConfig,
    SKLearn,
    TensorFlow,
)
from airflow_mltrain.config.docker_configuration import apply_docker
from airflow_mltrain.errors import AbsentError, ConfigurationError


def test_an_estimator_is_a_script_run_config(tmp_path: Path) -> None:
    (tmp_path / "conda.yml").write_text("dependencies: [python=3.11, {pip: [scipy==1.14.0]}]")
    estimator = Estimator(
        str(tmp_path),
        compute_target="gpu-box",
        entry_script="train.py",
        script_params={"--lr": 0.1, "--verbose": "", "--layers": 0},
        conda_dependencies_file=str(tmp_path / "conda.yml"),
        pip_packages=["pandas"],
        environment_variables={"SEED": "1"},
        use_gpu=True,
        node_count=1,
    )

    assert isinstance(estimator, ScriptRunConfig)
    assert estimator.argv("python") == [
        *("python", "train.py", "--lr", "0.1", "--verbose", "--layers", "0")
    ]
    assert (estimator.compute_target, estimator.run_config.resources.gpus) == ("gpu-box", 1)
    assert isinstance(estimator.environment, Environment)
    assert estimator.environment.python.packages == ["scipy==1.14.0", "pandas"]
    assert estimator.environment.python.version == "3.11"
    assert estimator.run_config.environment_variables == {"SEED": "1"}
    assert ScriptRunConfig.model_validate(estimator.model_dump(mode="json")).model_dump() == (
        estimator.model_dump()
    )


def test_an_estimator_keeps_the_credentials_of_a_conda_file(tmp_path: Path) -> None:
    # given
    file = tmp_path / "conda.yml"
    file.write_text(
        "dependencies:\n- pip:\n"
        "  - --extra-index-url https://me:pw@packages.example/index\n"
        "  - ours @ https://token@files.example/ours-1.0-py3-none-any.whl\n"
    )

    # when
    estimator = Estimator(".", entry_script="a.py", conda_dependencies_file=file)

    # then
    assert isinstance(estimator.environment, Environment)
    python = estimator.environment.python
    assert python.index.list_user_parts() == [("https://packages.example/index", "me:pw")]
    assert python.list_user_parts() == [
        ("https://files.example/ours-1.0-py3-none-any.whl", "token")
    ]
    assert "pw" not in estimator.model_dump_json()


@pytest.mark.parametrize(
    ("estimator", "package"),
    [
        (SKLearn(".", entry_script="a.py"), "scikit-learn"),
        (PyTorch(".", entry_script="a.py", framework_version="2.4"), "torch==2.4.*"),
        (TensorFlow(".", entry_script="a.py", pip_packages=["keras"]), "tensorflow"),
    ],
)
def test_the_estimator_of_a_framework_asks_for_it(estimator: Estimator, package: str) -> None:
    assert isinstance(estimator.environment, Environment)
    assert package in estimator.environment.python.packages


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (
            {"node_count": 2, "vm_size": "STANDARD_D2"},
            r"node_count(.|\n)*vm_size|vm_size(.|\n)*node_count",
        ),
        ({"inputs": [1]}, "inputs is not honoured"),
        ({"environment_definition": "a", "pip_packages": ["b"]}, "with pip_packages"),
        ({"custom_docker_image": "a", "use_docker": False}, "use_docker"),
        ({"framework_version": "1"}, "framework_version"),
    ],
)
def test_what_an_estimator_cannot_have_is_refused(given: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        Estimator(".", entry_script="a.py", **given)


def test_a_docker_configuration_is_of_one_run_and_wins_over_its_environment() -> None:
    environment = Environment("mine")
    environment.docker.arguments = ["--user", "1000"]
    config = ScriptRunConfig(
        ".",
        "a.py",
        environment=environment,
        docker_runtime_config=DockerConfiguration(
            use_docker=True, shm_size="4g", arguments=["--dns=1.1.1.1"]
        ),
    )

    applied = apply_docker(config.run_config.docker, environment, runs_images=True)

    assert applied is not None
    assert (applied.docker.arguments, applied.docker.shm_size) == (["--dns=1.1.1.1"], "4g")
    assert environment.docker.shm_size == "2g"
    DockerConfiguration().arguments.append("--user")
    assert DockerConfiguration().arguments == []


@pytest.mark.parametrize(
    ("docker", "remedy"),
    [
        (DockerConfiguration(use_docker=True), "runs no images"),
        (DockerConfiguration(arguments=["--user", "1"]), "use_docker = True"),
    ],
)
def test_a_docker_configuration_that_would_count_for_nothing_is_refused(
    docker: DockerConfiguration, remedy: str
) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        apply_docker(docker, None, runs_images=False)
    assert apply_docker(DockerConfiguration(), None, runs_images=False) is None


def test_names_that_are_not_here_can_be_imported_and_say_so_when_used() -> None:
    names: dict[str, Any] = {}
    exec("from airflow_mltrain import Dataset, MpiConfiguration", names)  # noqa: S102
    dataset, mpi_configuration = names["Dataset"], names["MpiConfiguration"]

    assert not isinstance("", dataset)
    with pytest.raises(AbsentError, match=r"Dataset\.get_by_name .*arguments"):
        dataset.get_by_name("mnist")
    with pytest.raises(AbsentError, match=r"MpiConfiguration .*one process"):
        mpi_configuration(2)
    assert not hasattr(airflow_mltrain, "Nonsense")


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (
            lambda: ScriptRunConfig(".", "a.py", resume_from=1),  # type: ignore[arg-type]
            r"resume_from .*previous_outputs",
        ),
        (lambda: RunConfiguration(communicator="mpi"), r"communicator .*one process"),  # type: ignore[call-arg]
        (lambda: setattr(Environment("a").docker, "enabled", True), r"enabled .*use_docker"),
        (lambda: RunConfiguration().node_count, r"node_count .*one process"),  # type: ignore[attr-defined]
        (lambda: Environment("a").build("ws"), r"Environment\.build .*mltrain env build"),  # type: ignore[attr-defined]
        (lambda: RunConfiguration().save("a", "b", separate_environment_yaml=True), "separate_"),
        (lambda: Environment.from_docker_image("a", "b", container_registry=1), "registry"),
        (lambda: Environment.from_existing_conda_environment("a", "b"), "conda env export -n b"),
        (lambda: setattr(Environment("a").python, "conda_dependencies", {}), "CondaDependencies"),
    ],
)
def test_settings_of_azure_ml_that_are_not_here_say_what_is(make: object, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        make()  # type: ignore[operator]
    assert not hasattr(RunConfiguration(), "node_count")


def test_settings_of_azure_ml_that_say_nothing_are_taken() -> None:
    nothing: dict[str, Any] = {"distributed_job_config": None, "resume_from": None}

    config = ScriptRunConfig(".", "a.py", **nothing)

    assert config.script == "a.py"


def test_a_compute_target_can_be_what_has_its_name() -> None:
    class Cluster:
        name = "gpu-box"

    assert ScriptRunConfig(".", "a.py", compute_target=Cluster()).compute_target == "gpu-box"
