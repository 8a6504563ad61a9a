"""Logins on SSH hosts: many at once, over and over, and what they leave behind."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import paramiko
import pytest

from airflow_mltrain.errors import ConfigurationError, TargetUnreachableError
from airflow_mltrain.targets.ssh_config import SshTargetConfig
from airflow_mltrain.targets.ssh_connection import HostConnector
from tests.services.patience import PATIENCE_SECONDS
from tests.services.ssh_host import SshHost
from tests.services.ssh_login import (
    PASSWORD,
    Connect,
    connected,
    refusal,
    wait_for_no_connection,
    who_am_i,
)

_HANGS_UP = "/bin/sh -c 'read banner; exit 3'"


def test_forty_at_once_are_all_let_in(make: Connect, login_host: SshHost) -> None:
    connector = make()

    with ThreadPoolExecutor(40) as pool:
        connections = list(pool.map(lambda _: connector.connect(), range(40)))

    alive = [connection.transport.is_authenticated() for connection in connections]
    for connection in connections:
        connection.close()
    assert alive == [True] * 40
    assert "MaxStartups" not in login_host.log


def test_a_host_that_turns_some_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with SshHost(sshd_lines=("MaxStartups 1",)) as narrow:
        monkeypatch.setenv("AIRFLOW_CONN_NARROW", narrow.connection_json())
        connector = HostConnector("narrow", SshTargetConfig())

        with ThreadPoolExecutor(6) as pool:
            connections = list(pool.map(lambda _: connector.connect(), range(6)))
        for connection in connections:
            connection.close()

        assert narrow.logins() == 6
        assert "MaxStartups" in narrow.log


def test_a_host_that_hangs_up_is_given_up_in_the_end(make: Connect) -> None:
    relay = "/bin/sh -c 'exit 0'"

    with pytest.raises(TargetUnreachableError, match="closes connections before a login"):
        make(SshTargetConfig(proxy_command=relay)).connect(patience_seconds=0.5)


@pytest.mark.parametrize(
    ("extra", "used"), [({}, "none"), ({"compress": True}, "zlib@openssh.com")]
)
def test_the_stream_is_compressed_only_if_asked_for(
    make: Connect, extra: dict[str, Any], used: str
) -> None:
    with connected(make(**extra)) as connection:
        assert connection.transport.local_compression == used


def test_later_logins_look_nothing_up(
    login_host: SshHost, make: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = make()
    monkeypatch.delenv("AIRFLOW_CONN_GPU_BOX")

    assert [who_am_i(connector), who_am_i(connector)] == [login_host.user] * 2


def test_closing_twice_is_harmless(make: Connect) -> None:
    connection = make().connect()
    connection.close()

    connection.close()

    with pytest.raises(EOFError):
        _ = connection.transport


def test_what_leads_to_the_same_login_is_the_same(make: Connect) -> None:
    assert make().identity == make().identity


@pytest.mark.parametrize(
    ("config", "fields", "extra"),
    [
        ({}, {"login": "other"}, {}),
        ({}, {"host": "other.example.org"}, {}),
        ({}, {"port": 2222}, {}),
        ({}, {"password": "other"}, {}),
        ({}, {}, {"private_key": None}),
        ({}, {}, {"compress": "true"}),
        ({"proxy_command": "nc %h %p"}, {}, {}),
    ],
)
def test_what_leads_to_another_login_is_another(
    make: Connect, config: dict[str, Any], fields: dict[str, Any], extra: dict[str, Any]
) -> None:
    assert make(SshTargetConfig(**config), fields, **extra).identity != make().identity


def test_a_connector_shows_no_secret(login_host: SshHost, make: Connect) -> None:
    connector = make(fields={"password": PASSWORD})

    shown = f"{connector!r} {connector.describe()} {connector.identity}"

    assert (
        f"{login_host.user}@{login_host.address}:{login_host.port}, connection 'gpu_box'" in shown
    )
    assert PASSWORD not in shown
    assert login_host.private_key.splitlines()[1] not in shown


@pytest.mark.parametrize("fields", [{"conn_type": "docker"}, {"port": 70_000}, {"host": ""}])
def test_a_connection_that_cannot_work_is_refused(make: Connect, fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="'gpu_box'"):
        make(fields=fields)


def test_a_failed_login_leaves_no_connection(login_host: SshHost, make: Connect) -> None:
    words = refusal(make(host_key=None))

    wait_for_no_connection(login_host)
    assert "host_key" in words


def test_a_failed_login_leaves_no_lines_of_paramiko_in_a_task_log(
    make: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connector = make(SshTargetConfig(proxy_command=_HANGS_UP))
    caplog.set_level(logging.INFO, "paramiko")

    refusal(connector)

    assert paramiko_levels(caplog) == set()


def test_a_login_leaves_no_lines_of_paramiko_in_a_task_log(
    make: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connector = make()
    caplog.set_level(logging.INFO, "paramiko")

    who_am_i(connector)

    assert paramiko_levels(caplog) == set()


def test_what_paramiko_says_of_a_failed_login_can_be_asked_for(
    make: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connector = make(SshTargetConfig(proxy_command=_HANGS_UP))
    caplog.set_level(logging.DEBUG, "paramiko")

    refusal(connector)

    assert paramiko_levels(caplog) == {"DEBUG"}


def test_what_others_do_with_paramiko_is_logged_as_it_was(
    login_host: SshHost, make: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "paramiko")

    with connected(make()), paramiko.Transport((login_host.address, login_host.port)) as other:
        other.start_client(timeout=PATIENCE_SECONDS)

    assert "INFO" in paramiko_levels(caplog)


def paramiko_levels(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {record.levelname for record in caplog.records if record.name == "paramiko.transport"}
