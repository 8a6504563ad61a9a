"""From the bytes of a training log to the lines of a task log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

_LONGEST_LINE_BYTES = 64 * 1024
_MESSAGES_OF_ONE_LINE = 50
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\n|\Z)")


class LineReader:
    """Cuts a byte stream into lines; `position` counts the bytes of those that were given out.

    A carriage return ends a line too, as progress bars write it. A line that never ends is given
    out in pieces. Bytes that are no UTF-8 are shown as U+FFFD.
    """

    def __init__(self, position: int = 0) -> None:
        self.position = position
        self._rest = b""

    @property
    def read_position(self) -> int:
        """Behind every byte that was fed, given out or not."""
        return self.position + len(self._rest)

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that `data` completes, in order."""
        data = self._rest + data
        start = 0
        for end in _LINE_END.finditer(data):
            line = data[start : end.start()]
            self.position += end.end() - start
            start = end.end()
            yield _text(line)
        self._rest = data[start:]
        while len(self._rest) > _LONGEST_LINE_BYTES:
            piece, self._rest = (
                self._rest[:_LONGEST_LINE_BYTES],
                self._rest[_LONGEST_LINE_BYTES:],
            )
            self.position += len(piece)
            yield _text(piece)

    def flush(self) -> Iterator[str]:
        """What is left once the log has ended without a newline."""
        rest, self._rest = self._rest, b""
        self.position += len(rest)
        if rest:
            yield _text(rest.rstrip(b"\r"))


def as_messages(lines: Iterable[str]) -> Iterator[str]:
    """Log messages for lines that came at once: a message each, but many lines share messages.

    Airflow takes a few thousand messages a second, and a script may write a million lines in one.
    """
    remaining = iter(lines)
    yield from islice(remaining, _MESSAGES_OF_ONE_LINE)
    block: list[str] = []
    size = 0
    for line in remaining:
        if block and size + len(line) > _LONGEST_LINE_BYTES:
            yield "\n".join(block)
            block, size = [], 0
        block.append(line)
        size += len(line) + 1
    if block:
        yield "\n".join(block)


def _text(line: bytes) -> str:
    return line.decode(errors="replace")
