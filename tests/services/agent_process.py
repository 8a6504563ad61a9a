"""A job agent as a process of this machine, spoken to as if it ran elsewhere."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_mltrain.targets.agent_entry import enter
from airflow_mltrain.targets.agent_session import AgentSession
from airflow_mltrain.targets.remote_machine import MachineSettings, RemoteMachine
from airflow_mltrain.targets.session_keeper import SessionKeeper

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LOOK_SECONDS = 0.5


class ProcessStream:
    """A shell command's standard input and output."""

    def __init__(self, command_line: str, variables: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", command_line],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **(variables or {})},
            start_new_session=True,
        )
        self._reading = threading.Lock()

    @property
    def pid(self) -> int:
        """The process, which becomes the agent."""
        return self._process.pid

    def receive(self, count: int) -> bytes:
        output = self._process.stdout
        assert output is not None
        with self._reading:
            if output.closed:
                return b""
            if not select.select([output], [], [], _LOOK_SECONDS)[0]:
                raise TimeoutError
            return os.read(output.fileno(), count)

    def send(self, content: bytes) -> None:
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            raise BrokenPipeError
        view = memoryview(content)
        while view:
            try:
                view = view[os.write(self._process.stdin.fileno(), view) :]
            except ValueError as error:  # it was cut between two pieces
                raise BrokenPipeError from error

    def close(self) -> None:
        self.cut()

    def cut(self) -> None:
        """Kill the agent where it stands."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        with self._reading:
            self._process.stdout.close()

    def disown(self) -> None:
        pass


class AgentProcess:
    """A place for job agents, one root folder; counts how often one was begun."""

    def __init__(self, root: Path, python: str = "python3") -> None:
        self.root = root
        self.streams: list[ProcessStream] = []
        self._python = python

    def open_session(self) -> AgentSession:
        """Begin an agent."""
        return enter(self.open_stream, str(self.root), self._python, "the test's machine")

    def open_stream(self, command_line: str) -> ProcessStream:
        """Run the command line."""
        stream = ProcessStream(command_line)
        self.streams.append(stream)
        return stream

    def close(self) -> None:
        """Kill whichever agents still run."""
        for stream in self.streams:
            stream.cut()

    def target(self, settings: MachineSettings | None = None) -> RemoteMachine:
        """The place as a compute target with a session of its own."""
        keeper = SessionKeeper(self.open_session)
        return RemoteMachine("elsewhere", keeper, settings or MachineSettings(), label="a process")
