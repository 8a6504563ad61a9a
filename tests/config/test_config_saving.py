"""Files of Azure ML's SDK, saved: what was not changed in them stays as it was."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic.alias_generators import to_camel

from airflow_mltrain import (
    DockerConfiguration,
    Environment,
    RunConfiguration,
    ScriptRunConfig,
)
from airflow_mltrain.config.resources import ResourcesSection
from airflow_mltrain.config.run_config_file import ResourcesKeys, RunConfigKeys, SparkKeys
from airflow_mltrain.config.run_config_writing import write_run_configuration
from airflow_mltrain.config.spark import SparkConfiguration
from airflow_mltrain.errors import ConfigurationError
from tests.config.config_files import CLUSTER, JOB, load


@pytest.mark.parametrize("name", ["fresh.runconfig", "cluster.runconfig", "job.yml"])
def test_what_was_not_changed_is_saved_as_it_was(project: Path, name: str) -> None:
    text = (project / ".azureml" / name).read_text()
    if name == "fresh.runconfig":
        text = text.replace("script:", "script: train.py", 1)
        (project / ".azureml" / name).write_text(text)
    config = load(project / ".azureml" / name)

    config.save()

    assert (project / ".azureml" / name).read_text() == text


def test_what_was_changed_is_saved_and_everything_else_is_as_it_was(project: Path) -> None:
    file = project / ".azureml" / "cluster.runconfig"
    config = load(file)

    config.arguments = ["--alpha", 1]
    config.compute_target = "another"
    config.run_config.prepare_timeout_seconds = 60
    assert isinstance(config.environment, Environment)
    config.environment.python.conda_dependencies.add_pip_package("pandas")
    config.run_config.resources.gpus = 2
    config.save()

    assert load(file) == config
    lines = file.read_text().splitlines()
    was = CLUSTER.splitlines()
    assert [line for line in lines if line not in was] == [
        'arguments: ["--alpha", 1]',
        'target: "another"',
        '        - "pandas"',
        "resources: {gpus: 2}",
        "prepareTimeoutSeconds: 60",
    ]
    assert [line for line in lines if line in was] == [line for line in was if line in lines]
    assert "  - tensorboard  # watched there" in lines


def test_a_command_job_keeps_what_is_not_here(project: Path) -> None:
    file = project / ".azureml" / "job.yml"
    config = load(file)

    config.compute_target = "local"
    config.tags["stage"] = "2"
    config.save()

    text = file.read_text()
    assert load(file) == config
    assert (
        text.replace('"local"', "azureml:gpu-box").replace(
            '{model: ridge, "stage": "2"}', "{model: ridge}"
        )
        == JOB
    )


def test_a_command_job_that_is_saved_elsewhere_means_the_same_code(project: Path) -> None:
    config = load(project / ".azureml" / "job.yml")

    config.save(project / "jobs" / "deep" / "job.yml")
    other = load(project / ".azureml" / "job.yml", project)
    other.save()

    assert 'code: "../../src"   # beside' in (project / "jobs/deep/job.yml").read_text()
    found = load(project / "jobs" / "deep" / "job.yml").source_directory
    assert Path(found).resolve() == project / "src"
    assert Path(load(project / ".azureml" / "job.yml").source_directory).resolve() == project


def test_an_environment_of_another_kind_is_saved(project: Path) -> None:
    file = project / ".azureml" / "cluster.runconfig"
    config = load(file)

    for environment in ("registered:3", None, Environment("plain"), "other"):
        config.environment = environment
        config.save()
        assert load(file).environment == environment


def test_a_new_run_configuration_is_saved_and_loaded(tmp_path: Path) -> None:
    environment = Environment("image", python={"packages": ["numpy"], "version": "3.11"})
    environment.docker.base_image = "python:3.11-slim"
    environment.docker.shm_size = "1g"
    run_config = RunConfiguration(
        target="gpu-box",
        environment=environment,
        environment_variables={"KEY": {"variable": "hub_token"}},  # type: ignore[dict-item]
        max_run_duration_seconds=60,
        lease_seconds=600,
        exit_code_policy={75: "preempted"},
        max_preemptions=3,
    )
    run_config.resources.memory = "4g"
    run_config.spark.executor_cores = 2
    run_config.docker = DockerConfiguration(use_docker=True, shm_size="1g")

    run_config.save(tmp_path, "mine")

    assert RunConfiguration.load(tmp_path, "mine") == run_config
    assert RunConfiguration.load(tmp_path / ".azureml" / "mine") == run_config


def test_a_run_configuration_can_say_all_that_there_is() -> None:
    keys = {field.alias for field in RunConfigKeys.model_fields.values()}

    assert {to_camel(name) for name in RunConfiguration.model_fields} <= keys
    assert {to_camel(name) for name in SparkConfiguration.model_fields} <= {
        field.alias for field in SparkKeys.model_fields.values()
    }
    assert ResourcesSection.model_fields.keys() == ResourcesKeys.model_fields.keys()
    values = write_run_configuration(RunConfiguration())
    assert {to_camel(name) for name in RunConfiguration.model_fields} == {
        str(location[0]) for location in values
    }


def test_what_a_file_cannot_say_is_refused_and_the_file_stays(project: Path) -> None:
    file = project / ".azureml" / "job.yml"
    config = load(file)
    config.run_config.resources.gpus = 1

    with pytest.raises(ConfigurationError, match=r"cannot say this: run_config\.resources\.gpus"):
        config.save()

    assert file.read_text() == JOB
    with pytest.raises(ConfigurationError, match="no file; give a path"):
        ScriptRunConfig(".", "a.py").save()


def test_a_file_stays_private_and_a_link_stays_a_link_when_it_is_saved(project: Path) -> None:
    # given
    file, link = project / "own.runconfig", project / ".azureml" / "linked.runconfig"
    file.write_text("script: train.py\n")
    file.chmod(0o640)
    link.symlink_to(file)

    # when
    config = ScriptRunConfig.load(link)
    config.compute_target = "gpu-box"
    config.save()

    # then
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert 'target: "gpu-box"' in file.read_text()


def test_what_somebody_wrote_into_the_file_since_is_not_undone(project: Path) -> None:
    # given
    file = project / ".azureml" / "cluster.runconfig"
    config, run_config = load(file), load(file).run_config
    config.compute_target = "another"
    config.save()
    config.compute_target = "gpu-box"
    config.save()
    text = file.read_text().replace("LEVEL: debug", "LEVEL: info")
    file.write_text(text)

    # when
    config.tags["stage"] = "2"
    with pytest.raises(ConfigurationError, match="was changed since it was loaded; load it again"):
        config.save()

    # then
    assert file.read_text() == text
    run_config.save(project, "other")
    again = RunConfiguration.load(project, "other")
    (project / ".azureml" / "other").write_text("target: local\n")
    with pytest.raises(ConfigurationError, match="was changed since it was loaded"):
        again.save(project)


PACKAGES = """\
script: train.py
environment:
  name: sk
  python:
    condaDependencies:
      name: project   # of conda
      channels: [conda-forge]
      dependencies:
      # the Python
      - python=3.11   # as on the cluster
      - pip:
        # from our own index
        - --index-url https://me:pw@packages.example/index
        - azureml-defaults
        - numpy==2.0  # not 2.1
        # last
"""
VARIABLES = """\
script: train.py
environmentVariables:
  # how much is said
  LEVEL: debug   # more
  SEED: 0.10
  # where
  HOST: here
spark:
  configuration:
    spark.app.name: Azure ML Experiment   # the SDK's
    spark.speculation: 1   # mine
tags: {"a": "1"}
"""


def test_a_package_more_is_a_line_more(project: Path) -> None:
    # given
    file = project / ".azureml" / "mine.runconfig"
    file.write_text(PACKAGES)
    config = load(file)
    assert isinstance(config.environment, Environment)

    # when
    config.environment.python.conda_dependencies.add_pip_package("pandas")
    config.save()
    added = file.read_text()
    config.environment.python.conda_dependencies.remove_pip_package("numpy")
    config.environment.python.conda_dependencies.set_python_version("3.12")
    config.save()

    # then
    assert added == PACKAGES.replace("# not 2.1\n", '# not 2.1\n        - "pandas"\n')
    assert load(file) == config
    assert file.read_text() == PACKAGES.replace("- numpy==2.0  # not 2.1", '- "pandas"').replace(
        "- python=3.11   # as on the cluster", '- "python=3.12"'
    )
    config.environment.python.conda_dependencies.set_pip_index_url("https://a:b@other.example/x")
    with pytest.raises(ConfigurationError, match="not written to files"):
        config.save()


def test_packages_in_another_order_and_of_conda_are_saved(project: Path) -> None:
    # given
    file = project / ".azureml" / "mine.runconfig"
    file.write_text(PACKAGES)
    config = load(file)
    assert isinstance(config.environment, Environment)

    # when
    packages = config.environment.python.conda_dependencies
    packages.set_pip_requirements(["pandas", "numpy==2.0", "scipy"])
    packages.add_conda_package("gcc")
    packages.add_channel("bioconda")
    config.save()

    # then
    assert load(file) == config
    assert "# from our own index" in file.read_text()
    assert "name: project   # of conda" in file.read_text()
    assert "- azureml-defaults" in file.read_text()


def test_a_variable_more_or_less_leaves_the_others_and_their_comments(project: Path) -> None:
    # given
    file = project / ".azureml" / "mine.runconfig"
    file.write_text(VARIABLES)
    config = load(file)

    # when
    config.run_config.environment_variables["LEVEL"] = "info"
    del config.run_config.environment_variables["HOST"]
    config.run_config.environment_variables["yes"] = "1"
    config.run_config.spark.configuration["spark.new"] = "2"
    config.tags["b"] = "2"
    config.save()

    # then
    assert load(file) == config
    assert file.read_text() == VARIABLES.replace("LEVEL: debug", 'LEVEL: "info"').replace(
        "  HOST: here\n", ""
    ).replace("SEED: 0.10\n", 'SEED: 0.10\n  "yes": "1"\n').replace(
        "1   # mine\n", '1   # mine\n    spark.new: "2"\n'
    ).replace('{"a": "1"}', '{"a": "1", "b": "2"}')


def test_credentials_are_not_lost_silently(project: Path) -> None:
    # given
    environment = Environment("e")
    environment.python.index.url = "https://me:pw@packages.example/index"
    run_config = RunConfiguration(environment=environment)

    # when
    with pytest.raises(ConfigurationError, match=r"not written to files; put '\$\{NAME\}'"):
        run_config.save(project, "mine")
    environment.python.index.url = "https://me:${PASSWORD}@packages.example/index"
    run_config.save(project, "mine")

    # then
    assert RunConfiguration.load(project, "mine") == run_config
