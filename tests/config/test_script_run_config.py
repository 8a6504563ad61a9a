"""What to run, as a user writes it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.run_configuration import RunConfiguration
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.errors import ConfigurationError

LONGEST_ARGUMENT = 131_071

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
keys = words.filter(str.strip)
names = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,20}", fullmatch=True)
variables = st.dictionaries(st.from_regex(r"[A-LN-Z_][A-Z0-9_]{0,9}", fullmatch=True), words)
arguments = st.lists(words | st.integers() | st.floats() | words.map(lambda word: Path("d", word)))
environments = st.builds(
    Environment,
    name=names,
    version=st.none() | st.integers(0).map(str),
    environment_variables=variables,
    python=st.fixed_dictionaries(
        {},
        optional={
            "user_managed_dependencies": st.booleans(),
            "interpreter_path": keys,
            "packages": st.lists(keys),
        },
    ),
    docker=st.fixed_dictionaries({}, optional={"base_image": keys, "arguments": arguments}),
    spark=st.fixed_dictionaries(
        {}, optional={"packages": st.lists(keys), "configuration": st.dictionaries(keys, words)}
    ),
)
run_configurations = st.builds(
    RunConfiguration,
    target=keys,
    framework=st.sampled_from(["Python", "PySpark", "pyspark"]),
    environment=st.none() | names | environments,
    environment_variables=variables,
    max_run_duration_seconds=st.none() | st.integers(1, 2**31 - 1),
)
script_runs = st.builds(
    ScriptRunConfig,
    source_directory=keys,
    script=st.just("train.py"),
    arguments=arguments,
    run_config=run_configurations,
    tags=st.dictionaries(words, words | st.integers() | st.floats()),
)
command_runs = st.builds(
    ScriptRunConfig,
    source_directory=keys,
    command=keys | st.lists(keys, min_size=1),
    run_config=run_configurations,
)


@given(config=script_runs | command_runs)
def test_every_config_survives_json(config: ScriptRunConfig) -> None:
    stored = json.loads(json.dumps(config.model_dump(mode="json"), allow_nan=False))

    assert ScriptRunConfig.model_validate(stored) == config
    assert ScriptRunConfig.model_validate_json(config.model_dump_json()) == config


@given(config=script_runs)
def test_every_command_line_is_the_same_before_and_after_storage(config: ScriptRunConfig) -> None:
    restored = ScriptRunConfig.model_validate(config.model_dump(mode="json"))

    assert restored.argv("python") == config.argv("python")


def test_the_first_four_come_in_the_order_of_azure_ml() -> None:
    configuration = RunConfiguration(target="gpu")

    config = ScriptRunConfig("src", "train.py", ["--lr", 0.1], configuration)

    assert config.source_directory == "src"
    assert config.script == "train.py"
    assert config.arguments == ["--lr", 0.1]
    assert config.run_config is configuration


def test_the_settings_of_azure_mls_own_article_are_assigned_one_by_one() -> None:
    config = ScriptRunConfig(source_directory=Path("project"), script="train.py")

    config.run_config.target = "my_compute_target"
    config.run_config.environment = Environment("user-managed-env")
    config.run_config.framework = "pyspark"

    assert config.source_directory == "project"
    assert config.model_dump()["run_config"]["target"] == "my_compute_target"
    assert config.model_dump()["run_config"]["framework"] == "PySpark"


def test_plain_data_holds_the_run_configuration_and_no_shortcut() -> None:
    config = ScriptRunConfig("src", "train.py", compute_target="gpu")

    plain = config.model_dump(mode="json")

    assert set(plain) == {
        "source_directory",
        "script",
        "arguments",
        "command",
        "run_config",
        "tags",
    }
    assert plain["run_config"]["target"] == "gpu"


def test_a_config_is_read_from_any_mapping_with_shortcuts() -> None:
    content = MappingProxyType(
        {
            "source_directory": "src",
            "script": "train.py",
            "compute_target": "gpu",
            "environment": {"name": "e"},
            "max_run_duration_seconds": 60,
        }
    )

    config = ScriptRunConfig.model_validate(content)

    assert config.run_config.target == "gpu"
    assert config.run_config.environment == Environment("e")
    assert config.run_config.max_run_duration_seconds == 60


def test_shortcuts_write_through_to_the_run_configuration() -> None:
    config = ScriptRunConfig("src", "train.py")

    config.compute_target = "gpu"
    config.environment = "MLTrain-Minimal"
    config.max_run_duration_seconds = 60

    assert config.run_config.target == config.compute_target == "gpu"
    assert config.run_config.environment == config.environment == "MLTrain-Minimal"
    assert config.run_config.max_run_duration_seconds == config.max_run_duration_seconds == 60


def test_a_wrong_value_is_refused_through_a_shortcut_too() -> None:
    config = ScriptRunConfig("src", "train.py")

    with pytest.raises(ConfigurationError, match="target: 123 was given"):
        config.compute_target = 123  # type: ignore[assignment] # the slip


def test_a_shortcut_fills_what_the_given_run_configuration_left_open() -> None:
    config = ScriptRunConfig(
        "src", "train.py", run_config=RunConfiguration(framework="PySpark"), compute_target="gpu"
    )

    assert config.run_config.target == "gpu"
    assert config.run_config.framework == "PySpark"


def test_a_shortcut_leaves_a_shared_run_configuration_as_it_was() -> None:
    shared = RunConfiguration(environment=Environment("e"))
    shared.environment_variables["SEED"] = "1"

    first = ScriptRunConfig("src", "train.py", run_config=shared, compute_target="gpu")
    second = ScriptRunConfig("src", "train.py", run_config=shared, compute_target="cpu")

    assert (shared.target, first.compute_target, second.compute_target) == ("local", "gpu", "cpu")
    assert first.run_config.environment_variables == {"SEED": "1"}
    assert first.environment is shared.environment


def test_a_shortcut_that_repeats_the_run_configuration_is_welcome() -> None:
    config = ScriptRunConfig(
        "src", "train.py", run_config=RunConfiguration(target="gpu"), compute_target="gpu"
    )

    assert config.compute_target == "gpu"


@pytest.mark.parametrize(
    ("shortcut", "setting", "values"),
    [
        ("compute_target", "target", ("gpu", "cpu")),
        ("environment", "environment", ("a", Environment("b"))),
        ("max_run_duration_seconds", "max_run_duration_seconds", (60, None)),
    ],
)
def test_a_shortcut_that_contradicts_the_run_configuration_is_refused_by_both_names(
    shortcut: str, setting: str, values: tuple[object, object]
) -> None:
    content = {
        "source_directory": "src",
        "script": "train.py",
        shortcut: values[0],
        "run_config": {setting: values[1]},
    }

    with pytest.raises(ConfigurationError, match=rf"{shortcut} is .* run_config\.{setting} is"):
        ScriptRunConfig.model_validate(content)


def test_a_misspelt_keyword_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(ConfigurationError, match=r"compute_targt: .* did you mean compute_target"):
        ScriptRunConfig("src", "train.py", compute_targt="gpu")  # type: ignore[arg-type] # the slip


def test_a_misspelt_attribute_is_refused_when_it_is_assigned() -> None:
    config = ScriptRunConfig("src", "train.py")

    with pytest.raises(ConfigurationError, match=r"ScriptRunConfig\.argumets: .* mean arguments"):
        config.argumets = ["--lr", "1"]  # type: ignore[attr-defined] # the slip


def test_a_setting_of_the_run_configuration_is_pointed_to_its_place() -> None:
    content = {"source_directory": "src", "script": "train.py", "framework": "PySpark"}

    with pytest.raises(ConfigurationError, match=r"did you mean run_config\.framework\?"):
        ScriptRunConfig.model_validate(content)


def test_a_name_in_the_wrong_case_is_answered_with_the_right_one() -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean script\?"):
        ScriptRunConfig.model_validate({"source_directory": "src", "Script": "train.py"})


def test_a_run_configuration_that_is_none_is_refused_beside_a_shortcut_too() -> None:
    content = {
        "source_directory": "src",
        "script": "train.py",
        "run_config": 3,
        "compute_target": "gpu",
    }

    with pytest.raises(ConfigurationError, match=r"ScriptRunConfig\.run_config: an int was given"):
        ScriptRunConfig.model_validate(content)


def test_nothing_in_the_place_of_arguments_and_tags_is_none_of_them() -> None:
    config = ScriptRunConfig.model_validate(
        {"source_directory": "src", "script": "train.py", "arguments": None, "tags": None}
    )

    assert (config.arguments, config.tags) == ([], {})


def test_every_fault_has_one_line_of_its_own() -> None:
    content = {
        "scrip\nt": "train.py",
        "arguments": ["ok", None],
        "run_config": {"target": 1, "environment": {"name": "a/b", "pyton": 1}},
    }

    with pytest.raises(ConfigurationError) as refusal:
        ScriptRunConfig.model_validate(content)

    assert [line.partition(": ")[0] for line in str(refusal.value).splitlines()] == [
        "ScriptRunConfig.source_directory",
        "ScriptRunConfig.arguments[1]",
        "ScriptRunConfig.run_config.target",
        "ScriptRunConfig.run_config.environment.name",
        "ScriptRunConfig.run_config.environment.pyton",
        "ScriptRunConfig.'scrip\\nt'",
    ]


@pytest.mark.parametrize("content", [None, 3, ["src", "train.py"], "src"])
def test_something_else_than_a_mapping_is_refused(content: object) -> None:
    with pytest.raises(ConfigurationError, match=r"ScriptRunConfig: .* was given"):
        ScriptRunConfig.model_validate(content)


def test_broken_json_is_refused_without_being_repeated() -> None:
    with pytest.raises(ConfigurationError, match="Invalid JSON") as refusal:
        ScriptRunConfig.model_validate_json('{"tags": "hunter2"')

    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("source_directory", ["", " ", "a\0b", 3, None])
def test_a_source_directory_that_is_no_path_is_refused(source_directory: object) -> None:
    content = {"source_directory": source_directory, "script": "train.py"}

    with pytest.raises(ConfigurationError, match=r"ScriptRunConfig\.source_directory: .* given"):
        ScriptRunConfig.model_validate(content)


@pytest.mark.parametrize("script", ["/src/train.py", "../train.py", "a/../../train.py", "", "a\0"])
def test_a_script_outside_the_source_directory_is_refused(script: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ScriptRunConfig\.script: .* was given"):
        ScriptRunConfig("src", script)


def test_a_script_that_jinja_has_yet_to_render_is_left_alone() -> None:
    config = ScriptRunConfig("{{ params.project }}", "{{ params.folder }}/../train.py")

    assert config.script == "{{ params.folder }}/../train.py"


def test_a_rendered_script_is_looked_at_again() -> None:
    plain = ScriptRunConfig("src", "{{ params.folder }}/train.py").model_dump(mode="json")
    rendered = plain | {"script": "../train.py"}

    with pytest.raises(ConfigurationError, match="inside source_directory"):
        ScriptRunConfig.model_validate(rendered)


def test_neither_a_script_nor_a_command_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="neither script nor command was given"):
        ScriptRunConfig("src")


def test_a_script_and_a_command_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="script and command were both given"):
        ScriptRunConfig("src", "train.py", command=["make"])


def test_a_script_is_exchanged_for_a_command_attribute_by_attribute() -> None:
    config = ScriptRunConfig("src", "train.py")

    config.command = ["make", "train"]
    config.script = None

    assert config.argv("python") == ["make", "train"]


def test_a_command_that_was_assigned_beside_a_script_is_refused_before_anything_starts(
    tmp_path: Path,
) -> None:
    (tmp_path / "train.py").touch()
    config = ScriptRunConfig(tmp_path, "train.py")

    config.command = ["make"]

    with pytest.raises(ConfigurationError, match="both given"):
        config.check()
    with pytest.raises(ConfigurationError, match="both given"):
        config.argv("python")


@pytest.mark.parametrize("command", [[], [""], "", " ", 3, ["make", None], "make\0"])
def test_a_command_that_names_no_program_or_is_no_words_is_refused(command: object) -> None:
    with pytest.raises(ConfigurationError, match=r"ScriptRunConfig\.command.*: .* was given"):
        ScriptRunConfig.model_validate({"source_directory": "src", "command": command})


def test_arguments_after_a_command_that_is_text_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="give the command as a list"):
        ScriptRunConfig("src", command="make train", arguments=["--lr", 1])


def test_arguments_keep_their_types_and_paths_become_text() -> None:
    config = ScriptRunConfig("src", "train.py", ["--n", 3, 0.5, Path("data") / "x y"])

    assert config.arguments == ["--n", 3, 0.5, "data/x y"]
    assert config.argv("python3") == ["python3", "train.py", "--n", "3", "0.5", "data/x y"]


@pytest.mark.parametrize(
    "slip", [None, True, ["nested"], {"a": 1}, object(), b"bytes", "a\0", "\udc80"]
)
def test_an_argument_that_is_no_word_is_refused_by_its_position(slip: object) -> None:
    content = {"source_directory": "src", "script": "train.py", "arguments": ["--ok", slip]}

    with pytest.raises(ConfigurationError, match=r"ScriptRunConfig\.arguments\[1\]: .* was given"):
        ScriptRunConfig.model_validate(content)


@pytest.mark.parametrize("key", ["arguments", "tags", "max_run_duration_seconds"])
def test_a_number_too_long_to_be_written_is_refused(key: str) -> None:
    too_long = 10**5000
    content = {"source_directory": "src", "script": "train.py"}
    value = {"arguments": [too_long], "tags": {"n": too_long}}.get(key, too_long)

    with pytest.raises(ConfigurationError, match=rf"{key}.*: a very large number was given"):
        ScriptRunConfig.model_validate({**content, key: value})


def test_arguments_without_an_order_are_refused() -> None:
    content = {"source_directory": "src", "script": "train.py", "arguments": {"--lr", "1"}}

    with pytest.raises(ConfigurationError, match="a set has no order"):
        ScriptRunConfig.model_validate(content)


def test_arguments_in_one_text_are_split_as_a_shell_would() -> None:
    config = ScriptRunConfig("src", "train.py", "--name 'two words' --lr=0.1 \"\"")

    assert config.arguments == ["--name", "two words", "--lr=0.1", ""]


def test_arguments_in_one_text_may_hold_jinja_expressions() -> None:
    config = ScriptRunConfig("src", "train.py", "--day {{ ds }} --n={{ params['a b'] }}")

    assert config.arguments == ["--day", "{{ ds }}", "--n={{ params['a b'] }}"]


def test_arguments_with_an_open_quotation_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="quotes and backslashes should match"):
        ScriptRunConfig("src", "train.py", "--name 'two words")


@given(given_words=st.lists(words))
def test_every_word_reaches_the_program_as_it_is(given_words: list[str]) -> None:
    config = ScriptRunConfig("src", command=["printf", r"%s\0"], arguments=given_words or ["x"])

    printed = subprocess.run(config.argv("python"), capture_output=True, check=True).stdout

    assert printed.decode().split("\0")[:-1] == (given_words or ["x"])


def test_a_command_that_is_text_is_run_by_a_shell() -> None:
    config = ScriptRunConfig("src", command="echo $((1 + 1)) | cat")

    printed = subprocess.run(config.argv("python"), capture_output=True, check=True).stdout

    assert printed == b"2\n"


def test_a_script_whose_name_looks_like_a_switch_is_still_a_script() -> None:
    config = ScriptRunConfig("src", "-c")

    assert config.argv("python") == ["python", "./-c"]


@pytest.mark.parametrize("word", ["x" * (LONGEST_ARGUMENT + 1), "é" * 65_536])
def test_an_argument_longer_than_linux_takes_is_refused_with_a_way_out(word: str) -> None:
    with pytest.raises(ConfigurationError, match=r"arguments\[0\]: .* write it to a file"):
        ScriptRunConfig("src", "train.py", [word])


def test_the_longest_argument_that_linux_takes_is_taken() -> None:
    config = ScriptRunConfig("src", command=["true"], arguments=["x" * LONGEST_ARGUMENT])

    assert subprocess.run(config.argv("python"), check=False).returncode == 0


def test_numbers_in_tags_become_text() -> None:
    config = ScriptRunConfig("src", "train.py", tags={"model": "ridge", "seed": 3, "lr": 0.5})

    assert config.tags == {"model": "ridge", "seed": "3", "lr": "0.5"}


@pytest.mark.parametrize("value", [None, True, ["a"], "a\0"])
def test_a_tag_that_is_no_text_is_refused(value: object) -> None:
    content = {"source_directory": "src", "script": "train.py", "tags": {"model": value}}

    with pytest.raises(ConfigurationError, match=r"ScriptRunConfig\.tags\.model: .* was given"):
        ScriptRunConfig.model_validate(content)


def test_changing_the_defaults_of_one_config_leaves_the_next_one_alone() -> None:
    changed = ScriptRunConfig("src", "train.py")

    changed.arguments.append("--lr")
    changed.tags["a"] = "b"
    changed.compute_target = "gpu"

    assert ScriptRunConfig("src", "train.py") == ScriptRunConfig(
        "src", "train.py", arguments=[], tags={}, compute_target="local"
    )


def test_the_list_that_was_given_is_not_the_configs_own() -> None:
    mine = ["--lr"]
    config = ScriptRunConfig("src", "train.py", mine)

    config.arguments.append("0.1")

    assert mine == ["--lr"]
