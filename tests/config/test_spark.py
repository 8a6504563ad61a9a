"""What a run asks of Spark is checked before anything starts."""

from __future__ import annotations

import pytest

from airflow_mltrain import Environment, ScriptRunConfig
from airflow_mltrain.config.spark import (
    SparkConfiguration,
    SparkSection,
    list_references,
    look_up_secrets,
)
from airflow_mltrain.errors import ConfigurationError


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"packages": ["spark-avro"]}, "Maven coordinates"),
        ({"packages": ["a:b:1,c:d:2"]}, "Maven coordinates"),
        ({"jars": ["a.jar,b.jar"]}, "without ','"),
        ({"configuration": {"executor.memory": "1g"}}, "begin with 'spark.'"),
        ({"configuration": {"spark.master": "local"}}, "comes from the connection"),
        ({"configuration": {"spark.jars.packages": "a:b:1"}}, "environment.spark.packages"),
        ({"configuration": {"spark.hadoop.fs.s3a.secret.key": "hunter2"}}, "'${NAME}'"),
        ({"configuration": {"spark.my.Password": "x${NAME}"}}, "'${NAME}'"),
    ],
)
def test_what_a_session_cannot_have_is_refused_by_its_key(
    fields: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Environment("e", spark=fields)

    assert words in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"executor_memory": "4"}, "a unit"),
        ({"executor_memory": "0g"}, "a unit"),
        ({"driver_memory": "lots"}, "a unit"),
        ({"executor_cores": 0}, "executor_cores"),
        ({"executor_instances": True}, "whole number"),
        ({"executors": 3}, "executors"),
    ],
)
def test_sizes_and_numbers_that_cannot_be_are_refused(
    fields: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        ScriptRunConfig("src", "train.py", run_config={"spark": fields})


def test_templates_wait_for_their_rendering() -> None:
    words = {"spark.my.password": "{{ var.value.x }}"}

    section = SparkSection(configuration=words, packages=["{{ p }}"])
    asked = SparkConfiguration(executor_memory="{{ params.memory }}")

    assert (section.configuration, section.packages) == (words, ["{{ p }}"])
    assert asked.executor_memory == "{{ params.memory }}"


def test_a_secret_is_looked_up_where_the_run_is_submitted() -> None:
    properties = {"spark.my.password": "${MY_PASSWORD}", "spark.my.size": "3"}

    found = look_up_secrets(properties, {"MY_PASSWORD": "hunter2"})

    assert found == {"spark.my.password": "hunter2", "spark.my.size": "3"}


def test_what_is_looked_up_is_known_to_be_secret_whatever_its_name() -> None:
    properties = {"spark.my.address": "${ADDRESS}", "spark.my.size": "3"}

    assert list_references(properties) == {"spark.my.address"}


@pytest.mark.parametrize(
    "name",
    [
        "spark.hadoop.fs.azure.account.key.a.dfs.core.windows.net",
        "spark.hadoop.fs.azure.sas.container.a.blob.core.windows.net",
        "spark.hadoop.fs.gs.auth.service.account.private.key",
        "spark.hadoop.fs.s3a.encryption.key",
    ],
)
def test_the_keys_of_a_store_are_refused_in_the_clear(name: str) -> None:
    with pytest.raises(ConfigurationError, match="may be a secret"):
        SparkSection(configuration={name: "k3y"})


@pytest.mark.parametrize(
    "name",
    [
        "spark.kubernetes.driver.secrets.login",
        "spark.kubernetes.driver.secretKeyRef.PASSWORD",
        "spark.kubernetes.container.image.pullSecrets",
        "spark.hadoop.fs.azure.account.keyprovider.a",
    ],
)
def test_the_name_of_a_secret_is_none(name: str) -> None:
    assert SparkSection(configuration={name: "login"}).configuration == {name: "login"}


def test_a_secret_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="variable MY_PASSWORD is not set"):
        look_up_secrets({"spark.my.password": "${MY_PASSWORD}"}, {})
