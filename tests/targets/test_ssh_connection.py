"""Logging in on real hosts, as Airflow connections say."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko
import pytest

from airflow_mltrain.errors import ConfigurationError, TargetUnreachableError
from airflow_mltrain.targets.config import SshTargetConfig
from airflow_mltrain.targets.ssh_connection import HostConnection, HostConnector
from tests.services.network import find_free_port
from tests.services.ssh_host import SshHost

_PASSWORD, _PASSPHRASE = "correct horse", "battery staple"
_OTHER_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIHVvlu9AuSnENZPyMBovGVGU4Ybc07ifKfgJiFBhqg4t"
_RELAY = """
import os, select, socket, sys, time
far = socket.create_connection((sys.argv[1], int(sys.argv[2])))
while True:
    for ready in select.select([0, far], [], [])[0]:
        content = os.read(0, 65536) if ready == 0 else far.recv(65536)
        if not content:
            time.sleep(60)  # it has to be ended
        if ready == 0:
            far.sendall(content)
        else:
            os.write(1, content)
"""
_HANGS_UP = "/bin/sh -c 'read banner; exit 3'"

Connect = Callable[..., HostConnector]


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    with SshHost(password=_PASSWORD) as host:
        yield host


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Without the keys, the agent and the known hosts of whoever runs the tests."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture
def make(host: SshHost, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """A connector of connection gpu_box, whose fields differ from the host's as given."""

    def make(
        config: SshTargetConfig | None = None,
        fields: dict[str, Any] | None = None,
        **extra: Any,
    ) -> HostConnector:
        connection = {**host.connection(**extra), **(fields or {})}
        monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", json.dumps(connection))
        return HostConnector("gpu_box", config or SshTargetConfig())

    return make


@contextmanager
def connected(connector: HostConnector) -> Iterator[HostConnection]:
    connection = connector.connect()
    try:
        yield connection
    finally:
        connection.close()


def who_am_i(connector: HostConnector) -> str:
    with connected(connector) as connection:
        channel = connection.transport.open_session()
        channel.exec_command("id -un")
        with channel.makefile("rb") as output:
            return bytes(output.read()).decode().strip()


def refusal(connector: HostConnector) -> str:
    with pytest.raises(TargetUnreachableError) as refused:
        connector.connect()
    words = str(refused.value)
    assert "connection 'gpu_box'" in words
    assert _PASSWORD not in words
    assert _PASSPHRASE not in words
    return words


def encrypt_key(host: SshHost, folder: Path) -> Path:
    path = folder / "encrypted key"
    path.write_text(host.private_key)
    path.chmod(0o600)
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-P", "", "-N", _PASSPHRASE, "-f", path],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return path


def ssh_keygen_fingerprint(path: Path) -> str:
    shown = subprocess.run(
        ["ssh-keygen", "-lf", path], check=True, capture_output=True, text=True
    ).stdout
    return shown.split()[1]


def test_a_key_in_the_extra_lets_in(host: SshHost, make: Connect) -> None:
    assert who_am_i(make()) == host.user


def test_a_key_with_a_passphrase_lets_in(host: SshHost, make: Connect, tmp_path: Path) -> None:
    key = encrypt_key(host, tmp_path).read_text()

    assert who_am_i(make(private_key=key, private_key_passphrase=_PASSPHRASE)) == host.user


def test_a_key_file_lets_in(host: SshHost, make: Connect) -> None:
    connector = make(private_key=None, key_file=str(host.private_key_file))

    assert who_am_i(connector) == host.user


def test_a_key_file_has_its_passphrase_in_the_password(
    host: SshHost, make: Connect, tmp_path: Path
) -> None:
    key_file = str(encrypt_key(host, tmp_path))
    connector = make(fields={"password": _PASSPHRASE}, private_key=None, key_file=key_file)

    assert who_am_i(connector) == host.user


def test_a_password_lets_in(host: SshHost, make: Connect) -> None:
    assert who_am_i(make(fields={"password": _PASSWORD}, private_key=None)) == host.user


def test_a_key_that_the_host_does_not_know_is_told_with_what_to_look_at(
    host: SshHost, make: Connect
) -> None:
    words = refusal(make(private_key=(host.disk / "host_key").read_text()))

    assert f"does not let {host.user!r} in (tried: the private key in its extra)" in words
    assert "authorized_keys" in words


def test_a_key_file_that_the_host_does_not_know_is_told(host: SshHost, make: Connect) -> None:
    key_file = str(host.disk / "host_key")

    assert f"tried: the key file {key_file}" in refusal(make(private_key=None, key_file=key_file))


def test_a_wrong_password_is_told_without_it(make: Connect) -> None:
    words = refusal(make(fields={"password": "Tr0ub4dor"}, private_key=None))

    assert "tried: its password" in words
    assert "Tr0ub4dor" not in words


def test_a_connection_without_credentials_is_told(make: Connect) -> None:
    assert "nothing to log in with" in refusal(make(private_key=None))


def test_a_key_file_that_is_not_there_is_named(make: Connect, tmp_path: Path) -> None:
    missing = str(tmp_path / "no key")

    words = refusal(make(private_key=None, key_file=missing))

    assert f"the key file {missing!r} cannot be read: No such file" in words


def test_a_key_file_without_its_passphrase_says_where_to_put_it(
    host: SshHost, make: Connect, tmp_path: Path
) -> None:
    words = refusal(make(private_key=None, key_file=str(encrypt_key(host, tmp_path))))

    assert "passphrase" in words
    assert "the connection's password" in words


def test_a_key_file_with_a_wrong_passphrase_says_so(
    host: SshHost, make: Connect, tmp_path: Path
) -> None:
    key_file = str(encrypt_key(host, tmp_path))

    words = refusal(make(fields={"password": "Tr0ub4dor"}, private_key=None, key_file=key_file))

    assert "tried: the key file" in words
    assert "Tr0ub4dor" not in words


@pytest.mark.parametrize(
    "extra", [{"private_key_passphrase": "Tr0ub4dor"}, {"private_key_passphrase": None}]
)
def test_a_key_that_cannot_be_decrypted_is_refused_before_anything_is_connected(
    host: SshHost, make: Connect, tmp_path: Path, extra: dict[str, Any]
) -> None:
    key = encrypt_key(host, tmp_path).read_text()

    with pytest.raises(ConfigurationError, match=r"'gpu_box'.*private_key_passphrase") as refused:
        make(private_key=key, **extra)

    assert "Tr0ub4dor" not in str(refused.value)


def test_an_unknown_host_key_is_shown_as_the_extra_needs_it(host: SshHost, make: Connect) -> None:
    words = refusal(make(host_key=None))

    assert f'"{host.host_key}"' in words
    assert ssh_keygen_fingerprint(host.disk / "host_key.pub") in words
    assert "host_key" in words
    assert "ssh-keygen -lf" in words


def test_a_changed_host_key_shows_both_fingerprints(
    host: SshHost, make: Connect, tmp_path: Path
) -> None:
    expected = tmp_path / "other.pub"
    expected.write_text(f"ssh-ed25519 {_OTHER_KEY}\n")

    words = refusal(make(host_key=f"ssh-ed25519 {_OTHER_KEY}"))

    assert f"expected {ssh_keygen_fingerprint(expected)}" in words
    assert ssh_keygen_fingerprint(host.disk / "host_key.pub") in words


def test_a_host_key_in_known_hosts_is_enough(host: SshHost, make: Connect, own_home: Path) -> None:
    known = f"[{host.address}]:{host.port} {host.host_key}\n"
    (own_home / ".ssh/known_hosts").write_text(known)

    assert who_am_i(make(host_key=None)) == host.user


def test_a_host_key_need_not_be_checked(host: SshHost, make: Connect) -> None:
    assert who_am_i(make(host_key=None, no_host_key_check=True)) == host.user


def test_a_port_that_nobody_listens_on_is_told_at_once(make: Connect) -> None:
    began = time.monotonic()

    words = refusal(make(fields={"port": find_free_port()}))

    assert "refused; does sshd run" in words
    assert time.monotonic() - began < 5


def test_a_name_that_does_not_resolve_is_told(make: Connect) -> None:
    words = refusal(make(fields={"host": "no-such-host.invalid"}))

    assert "'no-such-host.invalid' resolves to no address" in words


def test_a_host_that_takes_connections_and_hangs_is_told_in_time(make: Connect) -> None:
    began = time.monotonic()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        words = refusal(make(fields={"port": silent.getsockname()[1]}, conn_timeout=1))

    assert "takes connections and then says nothing" in words
    assert time.monotonic() - began < 5


def test_a_jump_host_leads_to_the_host(
    host: SshHost, make: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SshHost() as bastion:
        monkeypatch.setenv("AIRFLOW_CONN_BASTION", bastion.connection_json())
        connector = make(SshTargetConfig(jump_host="bastion"))

        name = who_am_i(connector)

        assert (name, bastion.logins()) == (host.user, 1)
        wait_for_no_connection(bastion)


def test_a_jump_host_may_have_one_of_its_own(
    host: SshHost, make: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SshHost() as bastion:
        inner = bastion.connection_json(mltrain={"jump_host": "door"})
        monkeypatch.setenv("AIRFLOW_CONN_BASTION", inner)
        monkeypatch.setenv("AIRFLOW_CONN_DOOR", bastion.connection_json())

        name = who_am_i(make(SshTargetConfig(jump_host="bastion")))

        assert (name, bastion.logins()) == (host.user, 2)


def test_a_jump_host_out_of_reach_is_told_of_both(
    make: Connect, host: SshHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = {**host.connection(), "port": find_free_port()}
    monkeypatch.setenv("AIRFLOW_CONN_BASTION", json.dumps(nowhere))

    words = refusal(make(SshTargetConfig(jump_host="bastion")))

    assert "its jump host is out of reach: connection 'bastion'" in words
    assert "refused" in words


def test_a_host_that_its_jump_host_cannot_reach_is_told(
    make: Connect, host: SshHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BASTION", host.connection_json())

    words = refusal(make(SshTargetConfig(jump_host="bastion"), {"port": find_free_port()}))

    assert "its jump host cannot reach it" in words


def test_a_jump_host_without_a_connection_is_refused(make: Connect) -> None:
    with pytest.raises(ConfigurationError, match="no Airflow connection 'bastion'"):
        make(SshTargetConfig(jump_host="bastion"))


def test_jump_hosts_in_a_circle_are_refused(make: Connect) -> None:
    with pytest.raises(ConfigurationError, match="circle: 'gpu_box' -> 'gpu_box'"):
        make(SshTargetConfig(jump_host="gpu_box"))


def test_a_jump_host_and_a_proxy_command_are_refused(make: Connect) -> None:
    with pytest.raises(ConfigurationError, match=r"'gpu_box'.*either jump_host or proxy_command"):
        make(SshTargetConfig(jump_host="bastion", proxy_command="nc %h %p"))


def test_a_proxy_command_leads_to_the_host_and_ends_with_the_connection(
    host: SshHost, make: Connect, tmp_path: Path
) -> None:
    relay = write_relay(tmp_path)
    connector = make(SshTargetConfig(proxy_command=f"{relay} %h %p %r 100%%"))

    with connected(connector):
        while_connected = find_process(relay)
    after = find_process(relay)

    port = str(host.port)
    assert while_connected[-4:] == [host.address, port, host.user, "100%"]
    assert after == []


def test_the_proxy_command_of_the_ssh_configuration_is_used(
    host: SshHost, make: Connect, tmp_path: Path, own_home: Path
) -> None:
    relay = write_relay(tmp_path)
    command = f"Host *\n  ProxyCommand {relay} 127.0.0.1 {host.port}\n"
    (own_home / ".ssh/config").write_text(command)

    with connected(make(fields={"port": 1}, host_key=None, no_host_key_check=True)):
        words = find_process(relay)

    assert words[-2:] == ["127.0.0.1", str(host.port)]


def test_a_proxy_command_that_fails_is_told_with_its_last_words(make: Connect) -> None:
    began = time.monotonic()
    failing = "/bin/sh -c 'echo no way >&2; exit 3'"

    words = refusal(make(SshTargetConfig(proxy_command=failing)))

    assert "proxy command failed, exit code 3: no way" in words
    assert time.monotonic() - began < 5


def test_a_proxy_command_that_is_not_there_is_told(make: Connect) -> None:
    words = refusal(make(SshTargetConfig(proxy_command="/no/such/program %h")))

    assert "cannot be started" in words
    assert "/no/such/program" in words


@pytest.mark.parametrize("command", ["nc %x %p", "nc 'unbalanced", " "])
def test_a_proxy_command_that_cannot_be_read_is_refused(make: Connect, command: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'gpu_box'.*proxy_command"):
        make(SshTargetConfig(proxy_command=command))


def test_forty_at_once_are_all_let_in(make: Connect, host: SshHost) -> None:
    connector = make()

    with ThreadPoolExecutor(40) as pool:
        connections = list(pool.map(lambda _: connector.connect(), range(40)))

    alive = [connection.transport.is_authenticated() for connection in connections]
    for connection in connections:
        connection.close()
    assert alive == [True] * 40
    assert "MaxStartups" not in host.log


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
    host: SshHost, make: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = make()
    monkeypatch.delenv("AIRFLOW_CONN_GPU_BOX")

    assert [who_am_i(connector), who_am_i(connector)] == [host.user] * 2


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


def test_a_connector_shows_no_secret(host: SshHost, make: Connect) -> None:
    connector = make(fields={"password": _PASSWORD})

    shown = f"{connector!r} {connector.describe()} {connector.identity}"

    assert f"{host.user}@{host.address}:{host.port}, connection 'gpu_box'" in shown
    assert _PASSWORD not in shown
    assert host.private_key.splitlines()[1] not in shown


@pytest.mark.parametrize("fields", [{"conn_type": "docker"}, {"port": 70_000}, {"host": ""}])
def test_a_connection_that_cannot_work_is_refused(make: Connect, fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="'gpu_box'"):
        make(fields=fields)


def test_a_failed_login_leaves_no_connection(host: SshHost, make: Connect) -> None:
    refusal(make(host_key=None))

    wait_for_no_connection(host)


def test_a_failed_login_leaves_no_lines_of_paramiko_in_a_task_log(
    make: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connector = make(SshTargetConfig(proxy_command=_HANGS_UP))
    caplog.set_level(logging.INFO)

    refusal(connector)

    assert paramiko_levels(caplog) == set()


def test_a_login_leaves_no_lines_of_paramiko_in_a_task_log(
    make: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connector = make()
    caplog.set_level(logging.INFO)

    who_am_i(connector)

    assert paramiko_levels(caplog) == set()


def test_what_paramiko_says_of_a_failed_login_can_be_asked_for(
    make: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    connector = make(SshTargetConfig(proxy_command=_HANGS_UP))
    caplog.set_level(logging.DEBUG)

    refusal(connector)

    assert paramiko_levels(caplog) == {"DEBUG"}


def test_what_others_do_with_paramiko_is_logged_as_it_was(
    host: SshHost, make: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    with connected(make()), paramiko.Transport((host.address, host.port)) as other:
        other.start_client(timeout=10)

    assert "INFO" in paramiko_levels(caplog)


def write_relay(folder: Path) -> str:
    """A program that copies between its standard streams and a host and port."""
    path = folder / "relay.py"
    path.write_text(_RELAY)
    return f"{sys.executable} -I -S {path}"


def paramiko_levels(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {record.levelname for record in caplog.records if record.name == "paramiko.transport"}


def find_process(command: str) -> list[str]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_text().split("\0")[:-1]
        except OSError:
            continue
        if " ".join(words).startswith(command):
            return words
    return []


def wait_for_no_connection(host: SshHost) -> None:
    deadline = time.monotonic() + 10
    while host.established_connections():
        assert time.monotonic() < deadline, "a connection is left"
        time.sleep(0.02)
