"""Ignore rules: what of a source directory stays out of its snapshot, read as git reads them."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from airflow_mltrain.snapshots.glob import has_wildcards, translate_glob
from airflow_mltrain.snapshots.many_wildcards import ManyWildcards, has_many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DEFAULT_PATTERNS = b"""\
.git
.venv
__pycache__
.ipynb_checkpoints
.mypy_cache
.pytest_cache
/outputs/
/logs/
"""
"""Out, unless a `!` rule without wildcards takes them in: `!*/` must not bring in `.git`."""

NESTED_FILE: Final = b".gitignore"

_NEVER: Final = "(?!)"


class IgnoreRules:
    """The ignore files that count at one place of the tree, the nearest first.

    Paths and names are bytes, as git matches them.
    """

    ignore_file: Final = ".amlignore"
    keeps_leaving_links: Final = False

    def __init__(self, layers: tuple[tuple[int, _Patterns], ...], defaults: _Patterns) -> None:
        self._layers = layers
        self._defaults = defaults

    @classmethod
    def at_root(cls, content: bytes) -> IgnoreRules:
        """The defaults, and the content of the root's ignore file."""
        return cls((), _Patterns.parse(DEFAULT_PATTERNS)).within(b"", content)

    def within(self, directory: bytes, content: bytes) -> IgnoreRules:
        """The rules below `directory`, a path from the root, whose ignore file holds `content`."""
        found = _Patterns.parse(content)
        start = len(directory) + 1 if directory else 0
        return IgnoreRules(((start, found), *self._layers), self._defaults) if found else self

    def below(self, path: bytes, read: Callable[[bytes], bytes | None]) -> IgnoreRules:
        """The rules in the directory at `path`, in which `read` reads a file."""
        own = read(NESTED_FILE)
        return self if own is None else self.within(path, own)

    def opens(self, _path: bytes) -> bool:
        """No ignored directory is looked into."""
        return False

    def ignores(self, path: bytes, name: bytes, *, is_directory: bool) -> bool:
        """Whether this entry stays out; `path` is from the root and ends in `name`.

        What lies below an ignored directory is ignored with it and must not be asked for.
        """
        verdict = None
        for start, patterns in self._layers:
            verdict = patterns.judge(path, name, start, is_directory=is_directory)
            if verdict is not None:
                break
        if verdict or not self._defaults.judge(path, name, 0, is_directory=is_directory):
            return bool(verdict)
        return not any(
            patterns.names_to_keep.judge(path, name, start, is_directory=is_directory) is False
            for start, patterns in self._layers
        )


class _Pattern(NamedTuple):
    parts: tuple[str, ...]  # of an expression
    ignores: bool
    only_directories: bool
    only_name: bool  # holds at every depth, so the name alone decides
    has_wildcards: bool


class _Patterns:
    """An ignore file."""

    def __init__(self, patterns: tuple[_Pattern, ...]) -> None:
        self.patterns = patterns

    @classmethod
    def parse(cls, content: bytes) -> _Patterns:
        lines = _split(content)
        return cls(tuple(found for line in lines if (found := _parse(line)) is not None))

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def judge(self, path: bytes, name: bytes, start: int, *, is_directory: bool) -> bool | None:
        """Whether the entry is ignored; None if no pattern matches it."""
        groups = self._for_directories if is_directory else self._for_files
        for ignores, matches_name, matches_path in groups:
            if matches_name(name) or matches_path(path, start):
                return ignores
        return None

    @cached_property
    def names_to_keep(self) -> _Patterns:
        kept = (found for found in self.patterns if not (found.ignores or found.has_wildcards))
        return _Patterns(tuple(kept))

    @cached_property
    def _for_directories(self) -> list[_Group]:
        return _group(self.patterns)

    @cached_property
    def _for_files(self) -> list[_Group]:
        return _group(found for found in self.patterns if not found.only_directories)


class _Match(Protocol):
    """Says of a path, from some place on, whether it is matched."""

    def __call__(self, path: bytes, start: int = 0, /) -> object: ...


class _Group(NamedTuple):
    """Consecutive patterns of one sign as one alternation, since 10,000 paths pass through."""

    ignores: bool
    matches_name: _Match
    matches_path: _Match


def _group(patterns: Iterable[_Pattern]) -> list[_Group]:
    """The groups, the last first, for the last match wins."""
    groups = []
    for ignores, members in groupby(patterns, key=lambda found: found.ignores):
        together = list(members)
        on_names = _compile([found.parts for found in together if found.only_name])
        on_paths = _compile([found.parts for found in together if not found.only_name])
        groups.append(_Group(ignores, on_names, on_paths))
    return groups[::-1]


def _compile(patterns: list[tuple[str, ...]]) -> _Match:
    alternation = "|".join("".join(parts) for parts in patterns if not has_many(parts)) or _NEVER
    few = re.compile(alternation.encode("latin-1"), re.DOTALL).fullmatch
    many = [ManyWildcards(parts, re.DOTALL) for parts in patterns if has_many(parts)]
    if not many:
        return few

    def match(path: bytes, start: int = 0, /) -> object:
        text = path[start:].decode("latin-1")
        return few(path, start) or any(one.matches(text) for one in many)

    return match


def _split(content: bytes) -> list[str]:
    text = content.removeprefix(b"\xef\xbb\xbf").decode("latin-1")  # one character per byte
    return [line.removesuffix("\r").partition("\0")[0] for line in text.split("\n")]


def _parse(line: str) -> _Pattern | None:
    if line.startswith("#"):
        return None
    text = _trim(line)
    ignores = not text.startswith("!")
    text = text if ignores else text[1:]
    only_directories = text.endswith("/")
    text = text[:-1] if only_directories else text
    only_name = "/" not in text
    text = text.removeprefix("/")
    parts = translate_glob(text, is_path=not only_name) if text else None
    if parts is None:
        return None
    return _Pattern(parts, ignores, only_directories, only_name, has_wildcards(text))


def _trim(line: str) -> str:
    """Without the spaces at the end, but for one behind a backslash."""
    kept = line.rstrip(" ")
    backslashes = len(kept) - len(kept.rstrip("\\"))
    return line[: len(kept) + 1] if backslashes % 2 else kept
