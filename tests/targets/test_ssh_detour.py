"""SSH hosts that are reached through others, or through a program."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.targets.ssh_config import SshTargetConfig
from scripts.free_port import find_free_port
from tests.services.ssh_host import SshHost
from tests.services.ssh_login import Connect, connected, refusal, wait_for_no_connection, who_am_i

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


def test_a_jump_host_leads_to_the_host(
    login_host: SshHost, make: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SshHost() as bastion:
        monkeypatch.setenv("AIRFLOW_CONN_BASTION", bastion.connection_json())
        connector = make(SshTargetConfig(jump_host="bastion"))

        name = who_am_i(connector)

        assert (name, bastion.logins()) == (login_host.user, 1)
        wait_for_no_connection(bastion)


def test_a_jump_host_may_have_one_of_its_own(
    login_host: SshHost, make: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SshHost() as bastion:
        inner = bastion.connection_json(mltrain={"jump_host": "door"})
        monkeypatch.setenv("AIRFLOW_CONN_BASTION", inner)
        monkeypatch.setenv("AIRFLOW_CONN_DOOR", bastion.connection_json())

        name = who_am_i(make(SshTargetConfig(jump_host="bastion")))

        assert (name, bastion.logins()) == (login_host.user, 2)


def test_a_jump_host_out_of_reach_is_told_of_both(
    make: Connect, login_host: SshHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = {**login_host.connection(), "port": find_free_port()}
    monkeypatch.setenv("AIRFLOW_CONN_BASTION", json.dumps(nowhere))

    words = refusal(make(SshTargetConfig(jump_host="bastion")))

    assert "its jump host is out of reach: connection 'bastion'" in words
    assert "refused" in words


def test_a_host_that_its_jump_host_cannot_reach_is_told(
    make: Connect, login_host: SshHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BASTION", login_host.connection_json())

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
    login_host: SshHost, make: Connect, tmp_path: Path
) -> None:
    relay = write_relay(tmp_path)
    connector = make(SshTargetConfig(proxy_command=f"{relay} %h %p %r 100%%"))

    with connected(connector):
        while_connected = find_process(relay)
    after = find_process(relay)

    port = str(login_host.port)
    assert while_connected[-4:] == [login_host.address, port, login_host.user, "100%"]
    assert after == []


def test_the_proxy_command_of_the_ssh_configuration_is_used(
    login_host: SshHost, make: Connect, tmp_path: Path, own_home: Path
) -> None:
    relay = write_relay(tmp_path)
    command = f"Host *\n  ProxyCommand {relay} 127.0.0.1 {login_host.port}\n"
    (own_home / ".ssh/config").write_text(command)

    with connected(make(fields={"port": 1}, host_key=None, no_host_key_check=True)):
        words = find_process(relay)

    assert words[-2:] == ["127.0.0.1", str(login_host.port)]


def test_a_proxy_command_that_fails_is_told_with_its_last_words(make: Connect) -> None:
    failing = "/bin/sh -c 'echo no way >&2; exit 3'"

    words = refusal(make(SshTargetConfig(proxy_command=failing)))

    assert "proxy command failed, exit code 3: no way" in words


def test_a_proxy_command_that_is_not_there_is_told(make: Connect) -> None:
    words = refusal(make(SshTargetConfig(proxy_command="/no/such/program %h")))

    assert "cannot be started" in words
    assert "/no/such/program" in words


@pytest.mark.parametrize("command", ["nc %x %p", "nc 'unbalanced", " "])
def test_a_proxy_command_that_cannot_be_read_is_refused(make: Connect, command: str) -> None:
    with pytest.raises(ConfigurationError, match=r"'gpu_box'.*proxy_command"):
        make(SshTargetConfig(proxy_command=command))


def write_relay(folder: Path) -> str:
    """A program that copies between its standard streams and a host and port."""
    path = folder / "relay.py"
    path.write_text(_RELAY)
    return f"{sys.executable} -I -S {path}"


def find_process(command: str) -> list[str]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace").split("\0")[:-1]
        except OSError:
            continue
        if " ".join(words).startswith(command):
            return words
    return []
