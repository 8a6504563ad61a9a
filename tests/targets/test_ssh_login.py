"""Credentials, host keys and addresses of SSH connections: those that work, and the others."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.errors import ConfigurationError
from scripts.free_port import find_free_port
from tests.services.ssh_host import SshHost
from tests.services.ssh_login import PASSPHRASE, PASSWORD, Connect, encrypt_key, refusal, who_am_i

_OTHER_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIHVvlu9AuSnENZPyMBovGVGU4Ybc07ifKfgJiFBhqg4t"


def test_a_key_in_the_extra_lets_in(login_host: SshHost, make: Connect) -> None:
    assert who_am_i(make()) == login_host.user


def test_a_key_with_a_passphrase_lets_in(
    login_host: SshHost, make: Connect, tmp_path: Path
) -> None:
    key = encrypt_key(login_host, tmp_path).read_text()

    assert who_am_i(make(private_key=key, private_key_passphrase=PASSPHRASE)) == login_host.user


def test_a_key_file_lets_in(login_host: SshHost, make: Connect) -> None:
    connector = make(private_key=None, key_file=str(login_host.private_key_file))

    assert who_am_i(connector) == login_host.user


def test_a_key_file_has_its_passphrase_in_the_password(
    login_host: SshHost, make: Connect, tmp_path: Path
) -> None:
    key_file = str(encrypt_key(login_host, tmp_path))
    connector = make(fields={"password": PASSPHRASE}, private_key=None, key_file=key_file)

    assert who_am_i(connector) == login_host.user


def test_a_password_lets_in(login_host: SshHost, make: Connect) -> None:
    assert who_am_i(make(fields={"password": PASSWORD}, private_key=None)) == login_host.user


def test_a_key_that_the_host_does_not_know_is_told_with_what_to_look_at(
    login_host: SshHost, make: Connect
) -> None:
    words = refusal(make(private_key=(login_host.disk / "host_key").read_text()))

    assert f"does not let {login_host.user!r} in (tried: the private key in its extra)" in words
    assert "authorized_keys" in words


def test_a_key_file_that_the_host_does_not_know_is_told(
    login_host: SshHost, make: Connect
) -> None:
    key_file = str(login_host.disk / "host_key")

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
    login_host: SshHost, make: Connect, tmp_path: Path
) -> None:
    words = refusal(make(private_key=None, key_file=str(encrypt_key(login_host, tmp_path))))

    assert "passphrase" in words
    assert "the connection's password" in words


def test_a_key_file_with_a_wrong_passphrase_says_so(
    login_host: SshHost, make: Connect, tmp_path: Path
) -> None:
    key_file = str(encrypt_key(login_host, tmp_path))

    words = refusal(make(fields={"password": "Tr0ub4dor"}, private_key=None, key_file=key_file))

    assert "tried: the key file" in words
    assert "Tr0ub4dor" not in words


@pytest.mark.parametrize(
    "extra", [{"private_key_passphrase": "Tr0ub4dor"}, {"private_key_passphrase": None}]
)
def test_a_key_that_cannot_be_decrypted_is_refused_before_anything_is_connected(
    login_host: SshHost, make: Connect, tmp_path: Path, extra: dict[str, Any]
) -> None:
    key = encrypt_key(login_host, tmp_path).read_text()

    with pytest.raises(ConfigurationError, match=r"'gpu_box'.*private_key_passphrase") as refused:
        make(private_key=key, **extra)

    assert "Tr0ub4dor" not in str(refused.value)


def test_an_unknown_host_key_is_shown_as_the_extra_needs_it(
    login_host: SshHost, make: Connect
) -> None:
    words = refusal(make(host_key=None))

    assert f'"{login_host.host_key}"' in words
    assert ssh_keygen_fingerprint(login_host.disk / "host_key.pub") in words
    assert "host_key" in words
    assert "ssh-keygen -lf" in words


def test_a_changed_host_key_shows_both_fingerprints(
    login_host: SshHost, make: Connect, tmp_path: Path
) -> None:
    expected = tmp_path / "other.pub"
    expected.write_text(f"ssh-ed25519 {_OTHER_KEY}\n")

    words = refusal(make(host_key=f"ssh-ed25519 {_OTHER_KEY}"))

    assert f"expected {ssh_keygen_fingerprint(expected)}" in words
    assert ssh_keygen_fingerprint(login_host.disk / "host_key.pub") in words


def test_a_host_key_in_known_hosts_is_enough(
    login_host: SshHost, make: Connect, own_home: Path
) -> None:
    known = f"[{login_host.address}]:{login_host.port} {login_host.host_key}\n"
    (own_home / ".ssh/known_hosts").write_text(known)

    assert who_am_i(make(host_key=None)) == login_host.user


def test_a_host_key_need_not_be_checked(login_host: SshHost, make: Connect) -> None:
    assert who_am_i(make(host_key=None, no_host_key_check=True)) == login_host.user


def test_a_port_that_nobody_listens_on_is_told(make: Connect) -> None:
    words = refusal(make(fields={"port": find_free_port()}))

    assert "refused; does sshd run" in words


def test_a_name_that_does_not_resolve_is_told(make: Connect) -> None:
    words = refusal(make(fields={"host": "no-such-login_host.invalid"}))

    assert "'no-such-login_host.invalid' resolves to no address" in words


def test_a_host_that_takes_connections_and_hangs_is_told_in_time(make: Connect) -> None:
    began = time.monotonic()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        words = refusal(make(fields={"port": silent.getsockname()[1]}, conn_timeout=1))

    assert "takes connections and then says nothing" in words
    assert time.monotonic() - began < 10  # as long as it would take by default


def ssh_keygen_fingerprint(path: Path) -> str:
    shown = subprocess.run(
        ["ssh-keygen", "-lf", path], check=True, capture_output=True, text=True
    ).stdout
    return shown.split()[1]
