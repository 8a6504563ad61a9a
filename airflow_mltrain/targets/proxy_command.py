"""A program whose standard input and output lead to a host."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress

from airflow_mltrain.errors import ConfigurationError

_SHOWN_BYTES = 500


class ProxyCommand:
    """The program, running, and our end of the socket pair that it reads from and writes to.

    Raises OSError where it cannot be started.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.sock, theirs = socket.socketpair()
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - close() does
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - the connection's author wrote it
                    words,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=self._complaints,
                    start_new_session=True,  # a signal to a task's group must not cut it off
                )
        except BaseException:
            self.sock.close()
            self._complaints.close()
            raise

    def find_failure(self) -> str | None:
        """What it ended with, if it is ending on its own as one that failed."""
        with suppress(subprocess.TimeoutExpired):
            if self._process.wait(1.0):
                size = self._complaints.seek(0, 2)
                self._complaints.seek(max(0, size - _SHOWN_BYTES))
                last_words = self._complaints.read().decode(errors="replace").strip()
                return f"exit code {self._process.returncode}: {last_words or 'without a word'}"
        return None

    def close(self) -> None:
        """End it; may be repeated."""
        self.sock.close()
        self._process.terminate()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._complaints.close()

    def disown(self) -> None:
        """Let go of a forked child's copy of the socket; the program goes on."""
        self.sock.close()


def split_command(command: str, tokens: Mapping[str, str]) -> list[str]:
    """The words of a command line, in which `%h` stands for `tokens["h"]`, and `%%` for `%`.

    No shell reads them. Raises ConfigurationError for what cannot be split and unknown tokens.
    """

    def fill_in(match: re.Match[str]) -> str:
        letter = match[1]
        if letter == "%":
            return letter
        if letter not in tokens:
            known = ", ".join(f"%{one}" for one in (*tokens, "%"))
            raise ConfigurationError(f"proxy_command: %{letter} has no meaning here; use {known}")
        return tokens[letter]

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigurationError(f"proxy_command cannot be split into words: {error}") from None
    if not words:
        raise ConfigurationError("proxy_command has no words: give a program and its arguments")
    return [re.sub("%(.?)", fill_in, word) for word in words]
