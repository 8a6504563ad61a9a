"""Logging in on SSH hosts through a connector, and what to expect of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.targets.ssh_connection import HostConnection, HostConnector
from tests.services.jobs import wait_for
from tests.services.ssh_host import SshHost

PASSWORD, PASSPHRASE = "correct horse", "battery staple"

Connect = Callable[..., HostConnector]


@contextmanager
def connected(connector: HostConnector) -> Iterator[HostConnection]:
    """A login, while the block lasts."""
    connection = connector.connect()
    try:
        yield connection
    finally:
        connection.close()


def who_am_i(connector: HostConnector) -> str:
    """The name that a login has on the host."""
    with connected(connector) as connection:
        channel = connection.transport.open_session()
        channel.exec_command("id -un")
        with channel.makefile("rb") as output:
            return bytes(output.read()).decode().strip()


def refusal(connector: HostConnector) -> str:
    """What a login that fails says: the connection, and none of its secrets."""
    with pytest.raises(TargetUnreachableError) as refused:
        connector.connect()
    words = str(refused.value)
    assert "connection 'gpu_box'" in words
    assert PASSWORD not in words
    assert PASSPHRASE not in words
    return words


def encrypt_key(host: SshHost, folder: Path) -> Path:
    """The host's key for its user, in a file of its own, with a passphrase."""
    path = folder / "encrypted key"
    path.write_text(host.private_key)
    path.chmod(0o600)
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-P", "", "-N", PASSPHRASE, "-f", path],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return path


def wait_for_no_connection(host: SshHost) -> None:
    """Wait until nobody is connected to the host."""
    wait_for(lambda: host.established_connections() == 0)
