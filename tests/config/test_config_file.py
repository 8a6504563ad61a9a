"""Files of Azure ML's SDK: `.runconfig` and command jobs, loaded, refused and saved."""

from __future__ import annotations

import contextlib
import copy
import shutil
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from airflow_mltrain import (
    DockerConfiguration,
    Environment,
    Experiment,
    RunConfiguration,
    ScriptRunConfig,
    Workspace,
)
from airflow_mltrain.config.resources import ResourcesSection
from airflow_mltrain.config.run_config_file import ResourcesKeys, RunConfigKeys, SparkKeys
from airflow_mltrain.config.run_config_writing import write_run_configuration
from airflow_mltrain.config.spark import SparkConfiguration
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.settings import Settings

FILES = Path(__file__).parent / "files"
FRESH = (FILES / "fresh.runconfig").read_text()
CLUSTER = (FILES / "cluster.runconfig").read_text()
JOB = (FILES / "job.yml").read_text()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(FILES, folder / ".azureml")
    (folder / "src").mkdir()
    (folder / "src" / "train.py").write_text("print('trained')")
    return folder


def load(file: Path, source_directory: Path | None = None) -> ScriptRunConfig:
    """Load a file whatever is not here in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ScriptRunConfig.load(file, source_directory)


def write(folder: Path, text: str) -> Path:
    file = folder / "file.runconfig"
    file.write_text(text)
    return file


def test_what_the_sdk_saves_by_default_is_loaded(project: Path) -> None:
    with pytest.warns(UserWarning, match="fresh.runconfig:17: environment.python.cond") as caught:
        run_config = RunConfiguration.load(project, "fresh")

    assert [warning.filename for warning in caught] == [__file__]
    assert isinstance(run_config.environment, Environment)
    assert run_config.environment.python.packages == ["scikit-learn==1.5.0"]
    assert (run_config.environment.python.version, run_config.target) == ("3.10", "local")
    assert run_config.environment.docker.base_image is None
    assert run_config.spark.configuration == {}
    assert run_config.max_run_duration_seconds == 30 * 24 * 3600


def test_a_run_configuration_is_honoured_and_what_is_not_here_is_in_one_list(
    project: Path,
) -> None:
    with pytest.warns(UserWarning, match="loaded without it") as caught:
        config = ScriptRunConfig.load(project / ".azureml" / "cluster.runconfig")

    assert len(caught) == 1
    lines = str(caught[0].message).splitlines()
    assert [line.split(": ")[:2] for line in lines[1:]] == [
        [f"{project}/.azureml/cluster.runconfig:12", "history.directoriesToWatch"],
        [f"{project}/.azureml/cluster.runconfig:40", "amlcompute"],
    ]
    environment = config.environment
    assert isinstance(environment, Environment)
    assert config.source_directory == str(project)
    assert config.argv("python") == [
        *("python", "train.py", "--alpha", "0.5", "--name", "two words")
    ]
    assert (config.compute_target, config.run_config.framework) == ("spark-cluster", "PySpark")
    assert config.run_config.spark.configuration == {"spark.sql.shuffle.partitions": "64"}
    assert config.run_config.spark.executor_instances == 2
    assert config.run_config.environment_variables == {"LEVEL": "debug"}
    assert (config.run_config.resources.gpus, config.tags) == (1, {"model": "ridge"})
    assert config.max_run_duration_seconds == 7200
    assert environment.python.packages == ["scikit-learn==1.5.0"]
    assert environment.spark.packages == ["org.apache.spark:spark-avro_2.12:3.5.1"]
    assert environment.environment_variables == {"SEED": "1"}


def test_a_command_job_is_honoured(project: Path) -> None:
    with pytest.warns(UserWarning, match="job.yml:3: experiment_name") as caught:
        config = ScriptRunConfig.load(project / ".azureml" / "job.yml")

    environment = config.environment
    assert len(caught) == 1
    assert isinstance(environment, Environment)
    assert config.command == (
        "mkdir -p outputs/model && python train.py --alpha 0.5 --flag true --out outputs/model"
    )
    assert Path(config.source_directory).resolve() == project / "src"
    assert (config.compute_target, config.max_run_duration_seconds) == ("gpu-box", 3600)
    assert config.run_config.docker == DockerConfiguration(
        use_docker=True, arguments=["--user", "1000"], shm_size="4g"
    )
    assert environment.docker.base_image == "python:3.11-slim"
    assert environment.python.packages == ["numpy==2.1.0"]
    assert config.tags == {"model": "ridge"}


def test_what_counts_as_text_is_taken_as_it_is_written(tmp_path: Path) -> None:
    # given
    run_file = write(
        tmp_path,
        "script: a\narguments: [--scala, 2.10, 010, 0.5]\ntags: {v: 3.10}\n"
        "environmentVariables: {V: 0.10}\nspark: {configuration: {spark.a: 1.0e+3}}\n"
        "environment:\n  environmentVariables: {W: 007}\n"
        "  spark:\n    packages: [{group: a.b, artifact: c, version: 3.10}]\n",
    )
    job_file = tmp_path / "job.yml"
    job_file.write_text(
        "command: a ${{inputs.x}} ${{inputs.y}}\ncode: .\ntags: {v: 3.10}\n"
        "inputs: {x: 0.10, y: {type: number, default: 1.50}}\nenvironment_variables: {V: 0.10}\n"
    )

    # when
    config, job = load(run_file), load(job_file)

    # then
    assert config.argv("python") == ["python", "a", "--scala", "2.10", "010", "0.5"]
    assert (config.tags, job.tags) == ({"v": "3.10"}, {"v": "3.10"})
    assert config.run_config.environment_variables == {"V": "0.10"}
    assert config.run_config.spark.configuration == {"spark.a": "1.0e+3"}
    assert isinstance(config.environment, Environment)
    assert config.environment.environment_variables == {"W": "007"}
    assert config.environment.spark.packages == ["a.b:c:3.10"]
    assert (job.command, job.run_config.environment_variables) == ("a 0.10 1.50", {"V": "0.10"})


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("target: local\nnodeCount: 8", [":2: nodeCount: a run is one"]),
        ("dataReferences: {a: {}}\ndata:\n  b: {c: 1}", [":2: data: pass", ":1: dataReferences"]),
        ("target: amlcompute\namlcompute: {vmSize: A}", [":1: target", "besides:\n", ":2: amlco"]),
        ("environment:\n  docker:\n    platform: {os: Windows}", [":3: environment.docker.plat"]),
        ("framework: PyTorch\ncommunicator: Nccl\n", [":2: communicator"]),
        ("command: a\ncode: .\ncompute: x\nresources: {instance_count: 2}", [":4: resources.ins"]),
        ("command: a\ncode: .\ninputs:\n  d: {path: azureml:d:1}", [":4: inputs.d.path: no data"]),
        ("command: a\ncode: .\ndistribution:\n  type: pytorch\n", [":3: distribution: a run is"]),
        ("command: a\ncode: git+https://x/y\n", [":2: code: check it out"]),
        ("type: sweep\ntrial: {}\n", ["1: type: 'sweep' is not here"]),
    ],
)
def test_what_would_run_as_something_else_is_refused_with_all_that_is_not_here(
    tmp_path: Path, text: str, faults: list[str]
) -> None:
    file = write(tmp_path, text)

    with pytest.raises(ConfigurationError) as refusal:
        ScriptRunConfig.load(file)

    for fault in faults:
        assert fault in str(refusal.value)
    assert str(file) in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "script: a\nnodecount: 1",
            r":2: nodecount: there is no such key; did you mean nodeCount\?",
        ),
        ("environment:\n  python:\n    conda: 1", r":3: environment\.python\.conda: there is no"),
        ("script: a\nnodeCount: two", r":2: nodeCount: 'two' was given; it should be a valid int"),
        ("script: a\narguments:\n- a\n- [b]", r":4: arguments\.1: a list was given; it should be"),
        (
            "environment:\n  python: {userManagedDependencies: 'no'}",
            r":2: environment\.python\.us",
        ),
        ("script: a\nmaxRunDurationSeconds: -1", r":2: maxRunDurationSeconds: -1 was given"),
        ("script: a\ndocker: {useDocker: true, shmSize: 2 gigs}", r":2: docker: .*whole number"),
        ("environment:\n  name: a b\n  version: 1\n  r: {}", r":1: environment: .*name"),
        ("script: ../a.py", r"script: .*inside source_directory"),
        ("script: a\ncommand: b", "both given"),
        ("target: local", "neither script nor command"),
        ("script: [", "2: this is not YAML|1: this is not YAML"),
        ("command: a\ncode: .\ncomput: b", r":3: comput: there is no .* compute\?"),
        ("compute: local\ncode: .", "command: is missing"),
        ("command: '${{inputs.a}}'\ncode: .\ninputs: {b: 1}", r":1: command: .*among inputs\.b"),
        (
            "command: a\ncode: .\nresources:\n  docker_args: --a 'b",
            r":4: resources\.docker_args: its",
        ),
        ("command: a\ncode: .\nlimits:\n  timeout: PT1H", r":4: limits\.timeout: 'PT1H' was"),
        ("command: a\ncode: .\noutputs: {'../x': {}}", r":3: outputs\.\.\./x: a name should"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line_and_a_remedy(
    tmp_path: Path, text: str, fault: str
) -> None:
    file = write(tmp_path, text)

    with pytest.raises(ConfigurationError, match=fault) as refusal:
        ScriptRunConfig.load(file)

    assert str(file) in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "script: a\nenvironmentVariables: TOKEN=s3cret",
        "script: a\nenvironmentVariables: {TOKEN=s3cret: [1]}",
        "script: a\nenvironmentVariables: {A b: s3cret}",
        "script: a\nenvironment: {docker: {baseImageRegistry: {password: [s3cret]}}}",
        "command: a\ncode: .\nenvironment_variables: [s3cret]",
        "command: a\ncode: .\nenvironment: {conda_file: {dependencies: [{pip: [a @ u:s3cret@]}]}}",
    ],
)
def test_what_may_be_a_secret_is_shown_nowhere(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        ScriptRunConfig.load(write(tmp_path, text))

    assert "s3cret" not in str(refusal.value)


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


@pytest.mark.parametrize(
    "read",
    [
        ScriptRunConfig.load,
        lambda path: Environment.from_pip_requirements("e", path),
        lambda path: Environment.from_conda_specification("e", path),
        lambda path: Environment.from_dockerfile("e", path),
        lambda path: Environment.load_from_directory(path.parent),
    ],
)
def test_a_file_that_never_ends_is_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    endless = tmp_path / "environment.json"
    endless.symlink_to("/dev/zero")

    with pytest.raises(ConfigurationError, match=r"cannot be read: it has more than [0-9,]+ byt"):
        read(endless)


def leaves(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, one in value.items() if isinstance(value, dict) else ():
        yield (*above, key)
        yield from leaves(one, (*above, key))


@examples(max_examples=60)
@given(st.data())
def test_whatever_is_in_a_file_it_is_loaded_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = yaml.safe_load(data.draw(st.sampled_from([FRESH, CLUSTER, JOB])))
    scalar = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    value = st.recursive(scalar, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
    changed = copy.deepcopy(content)
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from(sorted(leaves(content), key=str)))
        inner = changed
        for part in above:
            inner = inner.get(part, {}) if isinstance(inner, dict) else {}
        if isinstance(inner, dict):
            inner[data.draw(st.just(last) | st.text())] = data.draw(value)
    file = tmp_path_factory.getbasetemp() / "any.runconfig"
    file.write_text(yaml.safe_dump(changed), encoding="utf-8")

    with contextlib.suppress(ConfigurationError):
        assert isinstance(load(file), ScriptRunConfig)


def test_a_loaded_file_is_run(project: Path, settings: Settings) -> None:
    file = project / "job.yml"
    file.write_text(
        "command: echo ${{inputs.word}} > ${{outputs.model}}/word && python train.py\n"
        "code: src\ninputs: {word: hello}\noutputs: {model: }\ncompute: local\n"
    )

    run = Experiment(Workspace(settings), "churn").submit(ScriptRunConfig.load(file))
    run.wait_for_completion()

    assert run.get_file_names() == ["log", "outputs/model/word"]
    assert run.get_details_with_logs()["logFiles"] == {"log": "trained\n"}


def test_a_file_names_exit_codes_in_quotes(project: Path) -> None:
    # given
    file = project / ".azureml" / "policy.runconfig"
    file.write_text('script: train.py\nexitCodePolicy: {"75": preempted}\nmaxPreemptions: 3\n')

    # when
    config = load(file)
    was = dict(config.run_config.exit_code_policy)
    config.run_config.exit_code_policy = {2: "fail"}
    config.save()

    # then
    assert was == {75: "preempted"}
    assert load(file).run_config.exit_code_policy == {2: "fail"}
    assert load(file).run_config.max_preemptions == 3
