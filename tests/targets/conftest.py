"""SSH hosts for most tests, and connectors to one that takes keys and a password."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.targets.ssh_config import SshTargetConfig
from airflow_mltrain.targets.ssh_connection import HostConnector
from tests.services.ssh_host import SshHost
from tests.services.ssh_login import PASSWORD, Connect


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    """One whose user is bound by modes."""
    with SshHost(own_processes=False) as host:
        yield host


@pytest.fixture(scope="module")
def login_host() -> Iterator[SshHost]:
    with SshHost(password=PASSWORD) as host:
        yield host


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Without the keys, the agent and the known hosts of whoever runs the tests."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture
def make(
    login_host: SshHost,
    own_home: Path,  # noqa: ARG001 - it has nothing to log in with
    monkeypatch: pytest.MonkeyPatch,
) -> Connect:
    """A connector of connection gpu_box, whose fields differ from the host's as given."""

    def make(
        config: SshTargetConfig | None = None,
        fields: dict[str, Any] | None = None,
        **extra: Any,
    ) -> HostConnector:
        connection = {**login_host.connection(**extra), **(fields or {})}
        monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", json.dumps(connection))
        return HostConnector("gpu_box", config or SshTargetConfig())

    return make
