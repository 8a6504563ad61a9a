"""A login on this machine through which a job agent is begun, as odd as those elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mltrain.targets.agent_entry import enter
from tests.services.agent_process import ProcessStream

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.targets.agent_session import AgentSession


class ProcessLogin:
    """What a user of a machine gets to see: a shell line around the command, and variables."""

    def __init__(self, root: Path | str, line: str = "{}", **variables: str) -> None:
        self._root = str(root)
        self._line = line
        self._variables = variables
        self.streams: list[ProcessStream] = []

    def enter(self, python: str | None = None) -> AgentSession:
        """A session with an agent there."""
        return enter(self._open_stream, self._root, python, "the machine")

    def _open_stream(self, command_line: str) -> ProcessStream:
        stream = ProcessStream(self._line.replace("{}", command_line), self._variables)
        self.streams.append(stream)
        return stream
