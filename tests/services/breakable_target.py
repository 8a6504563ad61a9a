"""A compute target whose connection can be broken and repaired while somebody uses it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airflow_mltrain import ScriptRunConfig, Workspace, submission
from airflow_mltrain.runs.record import RunRecord

NAME = "box"
_CONNECTION = f"AIRFLOW_CONN_{NAME.upper()}"


class BreakableTarget:
    """The target `box`: this machine, or while it is cut a port that nobody listens on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self._monkeypatch = monkeypatch
        self._root = root

    def cut(self) -> None:
        """From now on, who looks the connection up finds a host that refuses it."""
        self._define({"kind": "ssh", "connection": "nowhere"})

    def lose_jump_host(self) -> None:
        """From now on, who looks the connection up is led through one that is not there."""
        self._define({"kind": "ssh", "connection": "nowhere", "jump_host": "gate"})

    def repair(self) -> None:
        """From now on, who looks the connection up reaches this machine."""
        self._define({"root": str(self._root)})

    def submit(self, workspace: Workspace, command: str) -> RunRecord:
        """Start a shell script on the target, which is whole then."""
        self.repair()
        return submission.submit(workspace, "cut", self.config(command))

    def config(self, command: str) -> ScriptRunConfig:
        """A shell script, to be run on the target."""
        project = self._root.with_name("project of the box")
        project.mkdir(exist_ok=True)
        return ScriptRunConfig(project, command=["sh", "-c", command], compute_target=NAME)

    def _define(self, extra: dict[str, str]) -> None:
        connection = {"conn_type": "mltrain_compute", "extra": extra}
        self._monkeypatch.setenv(_CONNECTION, json.dumps(connection))


@contextmanager
def breakable_target(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[BreakableTarget]:
    """The target `box` with everything of its runs below that folder."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and never listens
        monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", f"ssh://me@127.0.0.1:{deaf.getsockname()[1]}")
        box = BreakableTarget(monkeypatch, folder / "box")
        box.repair()
        yield box
