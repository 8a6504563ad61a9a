"""Environment variables of a run whose values Airflow keeps."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import pytest

from airflow_mltrain import ScriptRunConfig, SecretReference, progress, submission
from airflow_mltrain.airflow_secret import look_up_secrets
from airflow_mltrain.errors import ConfigurationError, JobStartError
from airflow_mltrain.recording import Occasion
from airflow_mltrain.runs.record import RunRecord, SubmissionKey
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.local import LocalTarget
from airflow_mltrain.workspace import Workspace
from tests.services.artifacts import folder_store
from tests.services.patience import PATIENCE_SECONDS

_OCCASION = Occasion(SubmissionKey("retrain", "scheduled__2026-01-01", "train"), "first/0")
_SHOW = """
import hashlib, os
print(hashlib.sha256(os.environ["TOKEN"].encode()).hexdigest())
"""


@pytest.fixture
def config(tmp_path: Path) -> ScriptRunConfig:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "train.py").write_text(_SHOW)
    config = ScriptRunConfig(tmp_path / "project", "train.py")
    config.run_config.environment_variables["TOKEN"] = SecretReference(variable="hub_token")
    return config


def _shown(workspace: Workspace, record: RunRecord) -> str:
    ended = progress.await_end(workspace, record.run_id, timeout_seconds=PATIENCE_SECONDS)
    assert ended.status is RunStatus.COMPLETED, ended.error
    return (folder_store(workspace).run_folder(record.run_id) / "log").read_text().strip()


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (None, "s3cret pass"),
        ("login", "ada"),
        ("host", "db.example"),
        ("port", "5432"),
        ("schema", "sales"),
        ("extra.api_key", "k-1"),
        ("extra.a.b", "7"),
    ],
)
def test_each_field_of_a_connection_can_be_named(
    field: str | None, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {
        "conn_type": "postgres",
        "login": "ada",
        "password": "s3cret pass",
        "host": "db.example",
        "port": 5432,
        "schema": "sales",
        "extra": {"api_key": "k-1", "a.b": 7},
    }
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(fields))
    reference = SecretReference(connection="warehouse", field=field)

    found = look_up_secrets({"IT": reference, "PLAIN": "text"})

    assert found == {"IT": value}


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        (SecretReference(connection="nowhere"), "there is no Airflow connection 'nowhere'"),
        (SecretReference(variable="nothing"), "there is no Airflow variable 'nothing'"),
        (SecretReference(connection="bare"), "connection 'bare' has no password"),
        (SecretReference(connection="bare", field="extra.x"), r"'bare' has no extra\.x"),
        (SecretReference(connection="bare", field="extra.list"), "neither text nor a number"),
        (SecretReference(variable="{{ var }}"), "a Jinja template that nothing has rendered"),
        (SecretReference(variable="long"), "at most 131,071 bytes"),
    ],
)
def test_a_secret_that_is_not_there_is_said_before_anything_is_recorded(
    reference: SecretReference,
    fault: str,
    workspace: Workspace,
    config: ScriptRunConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BARE", '{"conn_type": "http", "extra": {"list": [1]}}')
    monkeypatch.setenv("AIRFLOW_VAR_LONG", "x" * 131_071)
    config.run_config.environment_variables["TOKEN"] = reference

    with pytest.raises(ConfigurationError, match=rf"environment_variables\.TOKEN: .*{fault}"):
        submission.submit(workspace, "churn", config, _OCCASION)

    assert workspace.history.list_runs(limit=1) == []


def test_the_script_gets_the_secret_and_the_history_the_reference(
    workspace: Workspace, config: ScriptRunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_HUB_TOKEN", "s3cret")

    record = submission.submit(workspace, "churn", config, _OCCASION)

    assert _shown(workspace, record) == _digest("s3cret")
    kept = workspace.history.get(record.run_id).config["run_config"]["environment_variables"]
    assert kept == {"TOKEN": {"variable": "hub_token"}}


def test_a_reference_wins_over_the_variable_of_the_environment(
    workspace: Workspace, config: ScriptRunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_HUB_TOKEN", "s3cret")
    config.environment = {  # type: ignore[assignment] # a mapping is taken too
        "name": "mine",
        "environment_variables": {"TOKEN": "of the environment"},
        "python": {"user_managed_dependencies": True},
    }

    record = submission.submit(workspace, "churn", config, _OCCASION)

    assert _shown(workspace, record) == _digest("s3cret")


def test_who_hands_over_a_recorded_run_looks_its_secrets_up_anew(
    workspace: Workspace, config: ScriptRunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    def crash(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setenv("AIRFLOW_VAR_HUB_TOKEN", "of the first worker")
    with monkeypatch.context() as crashing:
        crashing.setattr(LocalTarget, "start", crash)
        with pytest.raises(KeyboardInterrupt):
            submission.submit(workspace, "churn", config, _OCCASION)
    [recorded] = workspace.history.list_runs(limit=2)

    # when
    monkeypatch.setenv("AIRFLOW_VAR_HUB_TOKEN", "of the second worker")
    record = submission.submit(workspace, "churn", config, _OCCASION)

    # then
    assert record.run_id == recorded.run_id
    assert _shown(workspace, record) == _digest("of the second worker")


def test_a_recorded_run_fails_where_its_secret_is_gone_and_a_retry_looks_for_it_anew(
    workspace: Workspace, config: ScriptRunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    def crash(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setenv("AIRFLOW_VAR_HUB_TOKEN", "s3cret")
    with monkeypatch.context() as crashing:
        crashing.setattr(LocalTarget, "start", crash)
        with pytest.raises(KeyboardInterrupt):
            submission.submit(workspace, "churn", config, _OCCASION)
    [recorded] = workspace.history.list_runs(limit=2)
    monkeypatch.delenv("AIRFLOW_VAR_HUB_TOKEN")

    # when
    with pytest.raises(JobStartError, match="there is no Airflow variable 'hub_token'"):
        submission.submit(workspace, "churn", config, _OCCASION)

    # then
    assert workspace.history.get(recorded.run_id).status is RunStatus.FAILED
    monkeypatch.setenv("AIRFLOW_VAR_HUB_TOKEN", "back")
    again = submission.submit(workspace, "churn", config, _OCCASION)
    assert again.generation == 2
    assert _shown(workspace, again) == _digest("back")


def test_who_adopts_a_started_run_needs_no_secrets(
    workspace: Workspace, config: ScriptRunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_HUB_TOKEN", "s3cret")
    first = submission.submit(workspace, "churn", config, _OCCASION)
    monkeypatch.delenv("AIRFLOW_VAR_HUB_TOKEN")

    again = submission.submit(workspace, "churn", config, _OCCASION)

    assert again.run_id == first.run_id
    assert _shown(workspace, again) == _digest("s3cret")
    assert "TOKEN" not in os.environ
