"""How an environment is referred to."""

from __future__ import annotations

import pytest

from airflow_mltrain.config.environment_reference import EnvironmentReference, check_new_label
from airflow_mltrain.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("sklearn", EnvironmentReference("sklearn")),
        ("sklearn:3", EnvironmentReference("sklearn", 3)),
        ("sklearn@production", EnvironmentReference("sklearn", None, "production")),
        ("sklearn@latest", EnvironmentReference("sklearn", None, "latest")),
    ],
)
def test_a_reference_is_read_and_written_back(text: str, reference: EnvironmentReference) -> None:
    assert EnvironmentReference.parse(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    ["", "a b", "a:", "a:0", "a:1.0", "a:latest", "a@", "a@b c", "a:1@b", "a@b:1", "..", "a:٣"],
)
def test_what_refers_to_no_environment_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"it should be|its label should be") as refusal:
        EnvironmentReference.parse(text)

    assert repr(text) in str(refusal.value)


def test_version_and_label_may_be_given_apart_from_the_name() -> None:
    assert EnvironmentReference.parse("a", "3") == EnvironmentReference("a", 3)
    assert EnvironmentReference.parse("a:3", 3) == EnvironmentReference("a", 3)
    assert EnvironmentReference.parse("a", label="b") == EnvironmentReference("a", None, "b")


@pytest.mark.parametrize(
    ("text", "version", "label"),
    [("a", 1, "b"), ("a:1", None, "b"), ("a:1", 2, None), ("a@b", 1, None), ("a@b", None, "c")],
)
def test_two_answers_to_which_one_are_refused(
    text: str, version: int | None, label: str | None
) -> None:
    with pytest.raises(ConfigurationError, match="give one of them"):
        EnvironmentReference.parse(text, version, label)


def test_latest_cannot_be_set_as_a_label() -> None:
    with pytest.raises(ConfigurationError, match="'latest' always means the newest version"):
        check_new_label("latest")


@pytest.mark.parametrize("label", ["", "a b", "a/b", "a" * 256])
def test_a_label_may_not_be(label: str) -> None:
    with pytest.raises(ConfigurationError, match="its label should be 1 to 255 letters"):
        check_new_label(label)


def test_a_label_may_be() -> None:
    assert check_new_label("production-2026.1_a") == "production-2026.1_a"


def test_a_version_with_too_many_digits_is_refused_for_that() -> None:
    with pytest.raises(ConfigurationError, match="its version has more digits than any"):
        EnvironmentReference.parse("sklearn:99999999999999999999")
