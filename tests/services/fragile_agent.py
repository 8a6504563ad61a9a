"""A job agent as a process of this machine, whose streams are counted, and break when told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.services.agent_process import AgentProcess, ProcessStream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

_WITHOUT_END = 2**63


class FragileStream(ProcessStream):
    """Kills its agent once so many bytes were sent to it, or came from it."""

    def __init__(
        self, command_line: str, most_sent: int = _WITHOUT_END, most_received: int = _WITHOUT_END
    ) -> None:
        super().__init__(command_line)
        self.sent = self.received = 0
        self._most_sent, self._most_received = most_sent, most_received

    def receive(self, count: int) -> bytes:
        content = super().receive(count)
        self.received += len(content)
        if self.received > self._most_received:
            self.cut()
        return content

    def send(self, content: bytes) -> None:
        passing = content[: self._most_sent - self.sent]
        super().send(passing)
        self.sent += len(passing)
        if len(passing) < len(content):
            self.cut()
            raise BrokenPipeError


class FragileAgent(AgentProcess):
    """Makes its streams one after the other as `makers` say, and whole ones after those."""

    def __init__(self, root: Path, *makers: Callable[[str], ProcessStream]) -> None:
        super().__init__(root)
        self._makers = list(makers)

    def open_stream(self, command_line: str) -> ProcessStream:
        make = self._makers.pop(0) if self._makers else FragileStream
        stream = make(command_line)
        self.streams.append(stream)
        return stream

    @property
    def sent(self) -> list[int]:
        """How many bytes went to each of the agents."""
        return [stream.sent for stream in self.streams if isinstance(stream, FragileStream)]

    @property
    def received(self) -> list[int]:
        """How many bytes came from each of the agents."""
        return [stream.received for stream in self.streams if isinstance(stream, FragileStream)]


class FragileAgents:
    """The places for agents that a test makes, all with one root folder; a context manager."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made: list[FragileAgent] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for agent in self._made:
            agent.close()

    def place(self, *makers: Callable[[str], ProcessStream]) -> FragileAgent:
        """Another place, whose streams are made as `FragileAgent` says."""
        self._made.append(FragileAgent(self.root, *makers))
        return self._made[-1]
