"""What to run, as a user writes it."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.run_configuration import RunConfiguration
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.errors import ConfigurationError


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
        ("compute_target", "target", ("gpu", "local")),
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


def test_a_run_configuration_that_names_its_target_is_not_overruled_by_a_shortcut() -> None:
    with pytest.raises(ConfigurationError, match="give only one of them"):
        ScriptRunConfig(
            "src", "train.py", run_config=RunConfiguration(target="local"), compute_target="gpu"
        )


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
