"""The command line that a config stands for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.errors import ConfigurationError

LONGEST_ARGUMENT = 131_071


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


def test_numbers_that_json_has_no_word_for_arrive_as_they_print() -> None:
    config = ScriptRunConfig("src", "train.py", [float("nan"), float("inf"), -float("inf")])

    stored = json.dumps(config.model_dump(mode="json"), allow_nan=False)

    assert ScriptRunConfig.model_validate_json(stored).argv("python")[2:] == ["nan", "inf", "-inf"]


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


@settings(deadline=None)  # each example starts a process
@given(
    given_words=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
    )
)
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
