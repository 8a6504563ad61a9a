"""Looking for words that should be nowhere, in files, databases and all that runs."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from docker import DockerClient
    from typing_extensions import Self

_SQLITE = b"SQLite format 3\0"
_PAUSE_SECONDS = 0.02


class Watch:
    """Looks again and again at what shows for a moment only, until it is left.

    `found` has the name of each word that was seen, and where.
    """

    def __init__(
        self, words: Mapping[str, str], looks: Mapping[str, Callable[[], Iterator[bytes]]]
    ) -> None:
        self.found: set[tuple[str, str]] = set()
        self.rounds = 0
        self._words = words
        self._looks = looks
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(_PAUSE_SECONDS):
            for place, look in self._looks.items():
                for content in look():
                    self.found |= {(name, place) for name in words_in(content, self._words)}
            self.rounds += 1


def words_in(content: bytes, words: Mapping[str, str]) -> set[str]:
    """The names of the words that are in it."""
    return {name for name, word in words.items() if word.encode() in content}


def search_files(root: Path, words: Mapping[str, str]) -> set[tuple[str, str]]:
    """The name of each word in a file below `root`, and the file's path from there."""
    return {
        (name, str(path.relative_to(root)))
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
        for content in _contents(path)
        for name in words_in(content, words)
    }


def command_lines() -> Iterator[bytes]:
    """What `ps` shows of all processes."""
    return _of_processes("cmdline")


def foreign_environments(owner: bytes) -> Iterator[bytes]:
    """The environments of all processes but those that have the variable `owner`."""
    for content in _of_processes("environ"):
        if not any(line.startswith(owner + b"=") for line in content.split(b"\0")):
            yield content


def variables_but(names: tuple[bytes, ...]) -> Iterator[bytes]:
    """The variables of all processes but those that begin so."""
    for content in _of_processes("environ"):
        lines = content.split(b"\0")
        yield b"\0".join(line for line in lines if not line.startswith(names))


def inspected_containers(client: DockerClient) -> Iterator[bytes]:
    """What `docker inspect` shows of all containers of an engine."""
    for container in client.api.containers(all=True):
        with suppress(Exception):  # it has gone meanwhile
            yield json.dumps(client.api.inspect_container(container["Id"])).encode()


def rows_in(database_url: str) -> Iterator[bytes]:
    """All rows of all tables of a PostgreSQL database."""
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
        )
        for (table,) in tables.fetchall():
            for row in connection.execute(f"SELECT * FROM {table}".encode()):  # noqa: S608
                yield b"\n".join(
                    value if isinstance(value, bytes) else str(value).encode() for value in row
                )


def _of_processes(name: str) -> Iterator[bytes]:
    for path in Path("/proc").glob(f"[0-9]*/{name}"):
        with suppress(OSError):
            yield path.read_bytes()


def _contents(path: Path) -> Iterator[bytes]:
    """The bytes of a file; of a database also its rows, which its pages may have torn apart."""
    content = path.read_bytes()
    yield content
    if content.startswith(_SQLITE):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            yield "\n".join(database.iterdump()).encode(errors="surrogateescape")
