from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_mltrain.errors import ConfigurationError, TargetNotFoundError
from airflow_mltrain.hooks.compute_target import ComputeTargetHook
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.registry import connect


def add_connection(monkeypatch: pytest.MonkeyPatch, name: str, **fields: object) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))


def test_this_machine_needs_no_connection(settings: Settings) -> None:
    assert connect("local", settings).name == "local"


def test_a_connection_names_a_root_folder_of_its_own(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    extra = {"kind": "local", "root": str(tmp_path / "big disk"), "max_concurrent_runs": 2}
    add_connection(monkeypatch, "big", conn_type="mltrain_compute", extra=extra)

    target = connect("big", settings)

    assert target.place
    assert (tmp_path / "big disk").is_dir()


def test_two_connections_share_no_folder(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other"):
        add_connection(monkeypatch, name, conn_type="mltrain_compute")

    places = {connect(name, settings).place for name in ("local", "one", "other")}

    assert len(places) == 3


def test_an_unknown_name_is_refused_with_what_there_could_be(settings: Settings) -> None:
    with pytest.raises(TargetNotFoundError, match=r"'gpu_box'.*'local'"):
        connect("gpu_box", settings)


def test_a_connection_that_cannot_run_jobs_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_connection(monkeypatch, "warehouse", conn_type="postgres")

    with pytest.raises(TargetNotFoundError, match="'postgres'"):
        connect("warehouse", settings)


@pytest.mark.parametrize(
    "extra",
    [
        {"kind": "abacus"},
        {"max_concurrent_runs": 0},
        {"max_concurrent_runs": "two"},
        {"max_concurrent_runs": True},
        {"root": "relative/path"},
        {"root": 3},
        {"rooot": "/srv"},
    ],
)
def test_a_field_that_cannot_be_used_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, extra: dict[str, object]
) -> None:
    add_connection(monkeypatch, "odd", conn_type="mltrain_compute", extra=extra)

    with pytest.raises(ConfigurationError, match=next(iter(extra))):
        connect("odd", settings)


def test_the_hook_reports_a_target_that_is_ready() -> None:
    is_ready, words = ComputeTargetHook().test_connection()

    assert is_ready, words
    assert "local" in words


def test_the_hook_reports_why_a_target_is_not_ready() -> None:
    is_ready, words = ComputeTargetHook("gpu_box").test_connection()

    assert not is_ready
    assert "gpu_box" in words
