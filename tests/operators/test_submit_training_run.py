"""What the operator makes of a config before and while Airflow renders it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_mltrain import Environment, ScriptRunConfig
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.operators.build_environment import BuildEnvironmentOperator
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

_URL = "https://me:s3cret@packages.example.org/index/"


def make_dag(**facts: Any) -> DAG:
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return DAG("retrain", schedule=None, start_date=start, **facts)


def test_credentials_of_an_environment_are_in_no_serialized_dag() -> None:
    # given
    environment = Environment("e", python={"index": {"url": _URL}})

    # when
    with make_dag() as dag:
        SubmitTrainingRunOperator(
            task_id="train",
            experiment="churn",
            config=ScriptRunConfig("project", "train.py", environment=environment),
        )
        BuildEnvironmentOperator(task_id="build", environment=environment)

    # then
    assert "s3cret" not in json.dumps(DagSerialization.to_dict(dag))


@pytest.mark.parametrize("place", ["environment", "run_config"])
def test_a_mapping_with_credentials_is_refused_without_showing_them(place: str) -> None:
    # given
    environment = {"name": "e", "python": {"index": {"extra_urls": [_URL]}}}
    held = environment if place == "environment" else {"environment": environment}
    config = {"source_directory": "project", "script": "train.py", place: held}

    # when / then
    with pytest.raises(ConfigurationError, match=r"\$\{NAME\}") as caught:
        SubmitTrainingRunOperator(task_id="train", experiment="churn", config=config)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigurationError):
        BuildEnvironmentOperator(task_id="build", environment=environment)


def test_references_and_templates_are_no_credentials() -> None:
    # given
    urls = ["https://me:${TOKEN}@packages.example.org/index/", "https://me:{{ t }}@h.example/i/"]
    environment = {"name": "e", "python": {"index": {"extra_urls": urls}}}

    # when
    operator = BuildEnvironmentOperator(task_id="build", environment=environment)

    # then
    assert operator.environment == environment


def test_text_that_is_no_template_stays_text_in_a_dag_with_native_objects() -> None:
    # given
    config = {
        "source_directory": "project",
        "script": "train.py",
        "arguments": ["1e-3", "{{ day }}"],
        "environment": {"name": "e", "python": {"version": "3.10"}},
    }
    with make_dag(render_template_as_native_obj=True) as dag:
        operator = SubmitTrainingRunOperator(task_id="train", experiment="churn", config=config)

    # when
    rendered = operator.render_template(
        operator.config, cast("Context", {"day": "5"}), dag.get_template_env()
    )

    # then
    assert rendered["arguments"] == ["1e-3", 5]
    assert rendered["environment"]["python"]["version"] == "3.10"
