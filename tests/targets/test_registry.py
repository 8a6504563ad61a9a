from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_mltrain.errors import ConfigurationError, TargetNotFoundError
from airflow_mltrain.hooks.compute_target import ComputeTargetHook
from airflow_mltrain.provider_info import get_provider_info
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.registry import connect, find_connections
from tests.services.ssh_host import SshHost


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


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    with SshHost() as host:
        yield host


def test_a_connection_of_type_ssh_is_a_target_as_it_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, host: SshHost
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", host.connection_json())

    target = connect("gpu_box", settings)

    assert target.name == "gpu_box"
    assert target.place
    assert (host.home / ".mltrain").is_dir()


def test_the_form_makes_a_target_of_an_ssh_connection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, host: SshHost
) -> None:
    inner = host.connection_json(mltrain={"root": "~/never", "python": "python3"})
    monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", inner)
    empty = dict.fromkeys(get_provider_info()["connection-types"][0]["conn-fields"])
    extra = {**empty, "kind": "ssh", "connection": "gpu_box", "root": "~/of the form"}
    add_connection(monkeypatch, "training", conn_type="mltrain_compute", extra=extra)

    target = connect("training", settings)

    assert target.name == "training"
    assert re.fullmatch(r"/.*/python3", target.interpreter)
    assert target.place
    assert (host.home / "of the form").is_dir()
    assert not (host.home / "never").exists()


def test_a_target_of_this_machine_leaves_the_fields_of_a_host_empty(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = dict.fromkeys(get_provider_info()["connection-types"][0]["conn-fields"])
    add_connection(monkeypatch, "here", conn_type="mltrain_compute", extra=extra)

    assert connect("here", settings).place


@pytest.mark.parametrize("conn_type", ["docker", "spark", "mltrain_compute"])
def test_the_form_leads_to_ssh_connections_only(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, conn_type: str
) -> None:
    add_connection(monkeypatch, "other", conn_type=conn_type, host="localhost")
    extra = {"kind": "ssh", "connection": "other"}
    add_connection(monkeypatch, "training", conn_type="mltrain_compute", extra=extra)

    with pytest.raises(ConfigurationError, match=rf"'training'.*'other'.*'{conn_type}'.*'ssh'"):
        connect("training", settings)


def test_the_form_leads_to_a_connection_that_there_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"kind": "ssh", "connection": "other"}
    add_connection(monkeypatch, "training", conn_type="mltrain_compute", extra=extra)

    with pytest.raises(ConfigurationError, match=r"'training'.*no Airflow connection 'other'"):
        connect("training", settings)


def test_a_field_of_an_ssh_connection_that_cannot_be_used_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"mltrain": {"rooot": "/srv"}}
    add_connection(monkeypatch, "gpu_box", conn_type="ssh", host="localhost", extra=extra)

    with pytest.raises(ConfigurationError, match=r"'gpu_box', extra 'mltrain'.*rooot"):
        connect("gpu_box", settings)


def test_an_unknown_name_is_refused_with_what_there_could_be(settings: Settings) -> None:
    with pytest.raises(TargetNotFoundError, match=r"'gpu_box'.*'local'"):
        connect("gpu_box", settings)


def test_a_connection_that_cannot_run_jobs_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_connection(monkeypatch, "warehouse", conn_type="postgres")

    with pytest.raises(TargetNotFoundError, match=r"'postgres'.*'ssh' or 'mltrain_compute'"):
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
        {"connection": "gpu_box"},
        {"python": "python3"},
        {"connection": 3, "kind": "ssh"},
        {"root": "relative", "kind": "ssh", "connection": "gpu_box"},
        {"environment_variables": "{", "kind": "ssh", "connection": "gpu_box"},
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


def test_all_connections_that_a_target_is_made_of_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given
    connections = {
        "form": {"conn_type": "mltrain_compute", "extra": {"kind": "ssh", "connection": "box"}},
        "box": {"conn_type": "ssh", "host": "a", "extra": {"mltrain": {"jump_host": "gate"}}},
        "gate": {"conn_type": "ssh", "host": "b"},
        "other": {"conn_type": "ssh", "host": "c"},
    }
    for conn_id, connection in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    # when
    found = find_connections("form")

    # then
    assert set(found) == {"form", "box", "gate"}
    assert json.loads(found["box"])["host"] == "a"
    assert find_connections("local") == {}
