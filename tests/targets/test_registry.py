from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_mltrain.errors import (
    ConfigurationError,
    TargetNotFoundError,
    TargetUnreachableError,
)
from airflow_mltrain.hooks.compute_target import ComputeTargetHook
from airflow_mltrain.provider_info import get_provider_info
from airflow_mltrain.settings import Settings
from airflow_mltrain.targets.registry import connect, find_connections
from tests.services.ssh_host import SshHost

_EMPTY_FORM = dict.fromkeys(get_provider_info()["connection-types"][0]["conn-fields"])
_NO_ENGINE = "tcp://127.0.0.1:1"  # where nothing listens


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
    extra = {**_EMPTY_FORM, "kind": "ssh", "connection": "gpu_box", "root": "~/of the form"}
    add_connection(monkeypatch, "training", conn_type="mltrain_compute", extra=extra)

    target = connect("training", settings)

    assert target.name == "training"
    assert re.fullmatch(r"/.*/python3", target.interpreter)
    assert target.place
    assert (host.home / "of the form").is_dir()
    assert not (host.home / "never").exists()


def test_a_connection_of_type_docker_is_a_target_as_it_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {
        "mltrain": {"engine": _NO_ENGINE, "image": "python:3.12-slim", "python": "python3.12"}
    }
    add_connection(monkeypatch, "engine", conn_type="docker", extra=extra)

    target = connect("engine", settings)  # there is no engine, and nobody has asked for one

    assert (target.name, target.runs_images, target.interpreter) == ("engine", True, "python3.12")


def test_a_target_without_its_engine_says_so_when_it_is_asked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"mltrain": {"engine": _NO_ENGINE}}
    add_connection(monkeypatch, "engine", conn_type="docker", extra=extra)
    target = connect("engine", settings)

    with pytest.raises(TargetUnreachableError, match=r"'engine'.*nothing listens at tcp://127"):
        _ = target.place
    with pytest.raises(TargetUnreachableError, match=r"'engine'.*nothing listens at tcp://127"):
        target.missing(["0" * 64])


def test_the_form_describes_an_engine_by_itself(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {
        "kind": "docker",
        "engine": _NO_ENGINE,
        "image": "python:3.12-slim",
        "python": "python3.12",
        "network": "training",
        "user": "1000:100",
        "memory": "16g",
        "cpus": 2.5,
        "gpus": "2",
        "max_concurrent_runs": 3,
        "environment_variables": '{"HTTPS_PROXY": "http://proxy:3128"}',
        "keep_containers": "on_failure",
    }
    extra = {**_EMPTY_FORM, **told}
    add_connection(monkeypatch, "training", conn_type="mltrain_compute", extra=extra)

    target = connect("training", settings)

    assert (target.name, target.interpreter) == ("training", "python3.12")


def test_the_form_makes_a_target_of_a_docker_connection(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = {"mltrain": {"engine": _NO_ENGINE, "python": "python3.9", "volume": "shared"}}
    add_connection(monkeypatch, "engine", conn_type="docker", extra=below)
    extra = {**_EMPTY_FORM, "kind": "docker", "connection": "engine", "python": "python3.12"}
    add_connection(monkeypatch, "training", conn_type="mltrain_compute", extra=extra)

    target = connect("training", settings)

    assert (target.name, target.interpreter) == ("training", "python3.12")
    with pytest.raises(TargetUnreachableError, match=r"'training'.*nothing listens at tcp://"):
        _ = target.place


@pytest.mark.parametrize("conn_type", ["ssh", "mltrain_compute"])
def test_the_form_of_an_engine_leads_to_docker_connections_only(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, conn_type: str
) -> None:
    add_connection(monkeypatch, "other", conn_type=conn_type, host="localhost")
    extra = {"kind": "docker", "connection": "other"}
    add_connection(monkeypatch, "training", conn_type="mltrain_compute", extra=extra)

    with pytest.raises(ConfigurationError, match=rf"'training'.*'other'.*'{conn_type}'.*'docker'"):
        connect("training", settings)


@pytest.mark.parametrize(
    ("extra", "field", "kinds"),
    [
        ({"kind": "docker", "root": "/srv"}, "root", "'local' or 'ssh' or 'spark'"),
        ({"kind": "docker", "jump_host": "gate"}, "jump_host", "'ssh'"),
        ({"kind": "ssh", "connection": "box", "image": "python:3.12"}, "image", "'docker'"),
        ({"kind": "local", "engine": _NO_ENGINE}, "engine", "'docker'"),
        ({"connection": "box"}, "connection", "'ssh' or 'docker' or 'spark'"),
    ],
)
def test_a_field_of_another_kind_is_told_to_be_so(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    extra: dict[str, object],
    field: str,
    kinds: str,
) -> None:
    add_connection(monkeypatch, "odd", conn_type="mltrain_compute", extra={**_EMPTY_FORM, **extra})

    with pytest.raises(ConfigurationError, match=rf"'odd': {field}: it is for kind {kinds}, and"):
        connect("odd", settings)


@pytest.mark.parametrize(
    "mltrain",
    [
        {"enginee": _NO_ENGINE},
        {"engine": "docker.example.org"},
        {"tls_ca": "/ca.pem"},
        {"pull": "never"},
        {"mounts": ["/var/run/docker.sock:/var/run/docker.sock"]},
        {"mounts": ["relative:path"]},
        {"registry": "https://registry.example.org"},
        {"memory": "plenty"},
        {"cpus": 0},
        {"gpus": -1},
        {"volume": "a/b"},
        {"keep_containers": True},
    ],
)
def test_a_field_of_a_docker_connection_that_cannot_be_used_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, mltrain: dict[str, object]
) -> None:
    add_connection(monkeypatch, "engine", conn_type="docker", extra={"mltrain": mltrain})

    told = rf"'engine', extra 'mltrain'.*{next(iter(mltrain))}"
    with pytest.raises(ConfigurationError, match=told):
        connect("engine", settings)


def test_a_target_of_this_machine_leaves_the_fields_of_a_host_empty(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_connection(monkeypatch, "here", conn_type="mltrain_compute", extra=_EMPTY_FORM)

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

    with pytest.raises(TargetNotFoundError, match=r"'postgres'.*'spark' or 'mltrain_compute'"):
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


_FORM = {"conn_type": "mltrain_compute", "extra": {"kind": "ssh", "connection": "box"}}
_BOX = {"conn_type": "ssh", "host": "a", "extra": {"mltrain": {"jump_host": "gate"}}}
_CLUSTER = {"conn_type": "spark", "host": "s", "extra": {"mltrain": {"edge_node": "box"}}}


@pytest.mark.parametrize(
    ("there", "target", "words"),
    [
        ({}, "form", "there is no compute target 'form'"),
        ({"form": _FORM}, "form", "connection 'form': connection: {} 'box'{}"),
        ({"box": _BOX}, "box", "connection 'box': jump_host: {} 'gate'{}"),
        (
            {"form": _FORM, "box": _BOX},
            "form",
            "compute target 'form': connection 'box': jump_host: {} 'gate'{}",
        ),
        ({"cluster": _CLUSTER}, "cluster", "connection 'cluster': edge_node: {} 'box'{}"),
        (
            {"cluster": _CLUSTER, "box": _BOX},
            "cluster",
            "compute target 'cluster': connection 'box': jump_host: {} 'gate'{}",
        ),
    ],
)
def test_a_connection_that_has_vanished_is_told_with_its_target_and_who_names_it(
    there: dict[str, object],
    target: str,
    words: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given
    for conn_id, connection in there.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    told = words.format(
        "there is no Airflow connection", "; make one of that name, or name another"
    )

    # when / then
    with pytest.raises((ConfigurationError, TargetNotFoundError), match=f"^{told}"):
        find_connections(target)
    with pytest.raises((ConfigurationError, TargetNotFoundError), match=f"^{told}"):
        connect(target, settings)


def test_so_is_the_connection_of_the_artifact_store() -> None:
    with pytest.raises(ConfigurationError, match=r"^\[mltrain\] artifacts: .* 'bucket'; make one"):
        find_connections("local", "bucket")
