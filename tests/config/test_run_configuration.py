"""Where a script runs, as a user writes it."""

from __future__ import annotations

import re

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.run_configuration import RunConfiguration
from airflow_mltrain.errors import ConfigurationError


def test_a_run_is_local_in_plain_python_for_thirty_days_unless_it_says_otherwise() -> None:
    configuration = RunConfiguration()

    assert configuration.target == "local"
    assert configuration.framework == "Python"
    assert configuration.environment is None
    assert configuration.environment_variables == {}
    assert configuration.max_run_duration_seconds == 2_592_000
    assert configuration.prepare_timeout_seconds == 3_600


def test_a_framework_is_understood_in_any_case() -> None:
    configuration = RunConfiguration()

    configuration.framework = "pyspark"

    assert configuration.model_dump()["framework"] == "PySpark"


@pytest.mark.parametrize("framework", ["Bogus", "", None, 1, ["Python"]])
def test_an_unknown_framework_is_refused(framework: object) -> None:
    with pytest.raises(ConfigurationError, match="it should be 'Python' or 'PySpark'"):
        RunConfiguration.model_validate({"framework": framework})


def test_a_target_that_is_no_name_is_refused_instead_of_ignored() -> None:
    configuration = RunConfiguration()

    with pytest.raises(ConfigurationError, match=r"RunConfiguration\.target: 123 was given"):
        configuration.target = 123  # type: ignore[assignment] # the slip

    assert configuration.target == "local"


def test_the_same_environment_object_is_kept_so_that_later_changes_to_it_count() -> None:
    environment = Environment("e")
    configuration = RunConfiguration(environment=environment)

    environment.python.user_managed_dependencies = True

    assert configuration.environment is environment


@pytest.mark.parametrize(
    "name",
    ["MLTrain-Minimal", "sklearn:3", "sklearn@production", "{{ params.environment }}"],
)
def test_an_environment_may_be_named_instead_of_given(name: str) -> None:
    assert RunConfiguration(environment=name).environment == name


@pytest.mark.parametrize("name", ["", "a b", "a:", "a:latest", "..", "a/b", "a@", "a:1@b"])
def test_a_name_that_no_environment_can_have_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"RunConfiguration\.environment: "):
        RunConfiguration(environment=name)


@pytest.mark.parametrize("environment", [3, ["MLTrain-Minimal"], True])
def test_something_else_than_an_environment_is_refused(environment: object) -> None:
    with pytest.raises(ConfigurationError, match="it should be an Environment, a mapping"):
        RunConfiguration.model_validate({"environment": environment})


def test_a_run_without_a_limit_says_none() -> None:
    assert RunConfiguration(max_run_duration_seconds=None).max_run_duration_seconds is None


@pytest.mark.parametrize("seconds", [0, -1, 1.5, "soon", True])
def test_a_duration_that_is_not_a_whole_number_of_seconds_is_refused(seconds: object) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        RunConfiguration.model_validate(
            {"max_run_duration_seconds": seconds, "prepare_timeout_seconds": seconds}
        )

    assert re.search(r"max_run_duration_seconds: .* was given", str(refusal.value))
    assert re.search(r"prepare_timeout_seconds: .* was given", str(refusal.value))


def test_a_run_may_be_left_alone_unless_it_has_a_lease() -> None:
    assert RunConfiguration().lease_seconds is None
    assert RunConfiguration(lease_seconds=1800).lease_seconds == 1800


@pytest.mark.parametrize("seconds", [0, 119, -1, 1800.5, "soon", True])
def test_a_lease_that_no_watcher_could_keep_is_refused(seconds: object) -> None:
    with pytest.raises(ConfigurationError, match=r"lease_seconds: .* was given; it should be"):
        RunConfiguration.model_validate({"lease_seconds": seconds})


def test_exit_codes_mean_what_a_policy_says_however_they_are_written() -> None:
    configuration = RunConfiguration(exit_code_policy={75: "preempted"}, max_preemptions=0)

    assert RunConfiguration().exit_code_policy == {}
    assert RunConfiguration().max_preemptions == 10
    stored = configuration.model_dump(mode="json")
    assert stored["exit_code_policy"] == {"75": "preempted"}
    assert RunConfiguration.model_validate(stored) == configuration


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        ({0: "retry"}, "exit code 0 should be a whole number from 1 to 255"),
        ({256: "fail"}, "exit code 256 should be a whole number"),
        ({-1: "fail"}, "exit code -1 should be a whole number"),
        ({True: "fail"}, "exit code True should be a whole number"),
        ({"seven": "fail"}, "exit code 'seven' should be a whole number"),
        ({75: "again"}, "exit code 75 should be one of 'retry', 'fail', 'skip', 'preempted'"),
        ({75: None}, "exit code 75 should be one of"),
        ({75: "fail", "75": "skip"}, "exit code 75 should be there once"),
        ([75], "it should be a valid dictionary"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(policy: object, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"exit_code_policy: .*{fault}"):
        RunConfiguration.model_validate({"exit_code_policy": policy})


@pytest.mark.parametrize("count", [-1, 1.5, True, None])
def test_a_number_of_preemptions_that_cannot_be_is_refused(count: object) -> None:
    with pytest.raises(ConfigurationError, match=r"max_preemptions: .* was given"):
        RunConfiguration.model_validate({"max_preemptions": count})


def test_settings_that_do_not_exist_here_are_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        RunConfiguration.model_validate({"node_count": -5, "comunicator": "x"})

    assert len(str(refusal.value).splitlines()) == 2
    assert "RunConfiguration.node_count of Azure ML's SDK is not here: a run" in str(refusal.value)
    assert "Valid names: docker, environment, environment_variables, exit_code_policy" in str(
        refusal.value
    )


def test_faults_deep_inside_are_named_with_their_whole_key() -> None:
    content = {"environment": {"name": "e", "python": {"interpreter_path": 3}}}

    with pytest.raises(ConfigurationError) as refusal:
        RunConfiguration.model_validate(content)

    assert str(refusal.value) == (
        "RunConfiguration.environment.python.interpreter_path: 3 was given; "
        "it should be a valid string"
    )


def test_text_in_place_of_a_whole_section_is_not_repeated_for_it_may_hold_secrets() -> None:
    content = {"environment": {"name": "e", "docker": '{"arguments": ["hunter2"]}'}}

    with pytest.raises(ConfigurationError, match="a str was given") as refusal:
        RunConfiguration.model_validate(content)

    assert "hunter2" not in str(refusal.value)
