"""Files of Azure ML's SDK: `.runconfig` and command jobs, loaded, or refused."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from airflow_mltrain import (
    DockerConfiguration,
    Environment,
    Experiment,
    RunConfiguration,
    ScriptRunConfig,
    Workspace,
)
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.settings import Settings
from tests.config.config_files import CLUSTER, FRESH, JOB, load


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


def test_what_is_not_here_in_an_environments_own_file_is_placed_in_that(tmp_path: Path) -> None:
    # given
    own = tmp_path / "environment.yml"
    own.write_text("name: churn\n\nassetId: azureml://churn\n")
    file = write(tmp_path, "script: train.py\nenvironment: environment.yml\n")

    # when / then
    with pytest.warns(UserWarning, match=rf"^{file} asks.*\n{own}:3: assetId: leave it out$"):
        ScriptRunConfig.load(file)


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
