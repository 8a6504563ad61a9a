"""Secrets by reference, as a user writes them and as they are kept."""

from __future__ import annotations

from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types

from airflow_mltrain import RunConfiguration, ScriptRunConfig, SecretReference
from airflow_mltrain.errors import ConfigurationError

_PASSWORD = SecretReference(connection="warehouse")
_KEY = SecretReference(connection="bucket", field="extra.api_key")
_TOKEN = SecretReference(variable="hub_token")


def test_a_reference_is_kept_as_it_was_written_and_as_nothing_else() -> None:
    # given
    config = ScriptRunConfig("project", "train.py")
    config.run_config.environment_variables = {"A": _PASSWORD, "B": _KEY, "C": _TOKEN, "D": "d"}

    # when
    dumped = config.model_dump(mode="json")

    # then
    assert dumped["run_config"]["environment_variables"] == {
        "A": {"connection": "warehouse"},
        "B": {"connection": "bucket", "field": "extra.api_key"},
        "C": {"variable": "hub_token"},
        "D": "d",
    }
    assert ScriptRunConfig.model_validate(yaml.safe_load(yaml.safe_dump(dumped))) == config
    assert ScriptRunConfig.model_validate_json(config.model_dump_json()) == config


def test_a_template_is_taken_until_it_is_rendered() -> None:
    reference = SecretReference(connection="{{ params.conn }}", field="{{ params.field }}")

    assert reference.connection == "{{ params.conn }}"


def test_a_reference_is_not_changed_for_another_config_may_have_it() -> None:
    with pytest.raises(ConfigurationError, match=r"SecretReference\.variable"):
        _TOKEN.variable = "other"


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({}, "it should name a connection or a variable, and not both"),
        ({"connection": "a", "variable": "b"}, "a connection or a variable, and not both"),
        ({"variable": "a", "field": "login"}, "field should be given with a connection"),
        ({"connection": "a", "field": "hunter2"}, r"extra\. and a name"),
        ({"connection": "a", "field": "extra."}, r"extra\. and a name"),
        ({"connection": " "}, "it should not be empty"),
        ({"conn_id": "a"}, "Valid names: connection, field, variable"),
        (1, r"an? \w+ was given"),
        (None, r"an? \w+ was given"),
    ],
)
def test_what_is_no_reference_is_refused_with_its_key_and_shows_nothing(
    given: Any, right: str
) -> None:
    with pytest.raises(ConfigurationError, match=right) as caught:
        RunConfiguration.model_validate({"environment_variables": {"TOKEN": given}})

    assert "RunConfiguration.environment_variables.TOKEN" in str(caught.value)
    assert "hunter2" not in str(caught.value)
