"""Docker's globs: those of Go's filepath.Match, and `**` for any number of directories."""

from __future__ import annotations

import re
from typing import Final

from airflow_mltrain.snapshots.many_wildcards import (
    ANYTHING,
    DIRECTORIES,
    WITHIN_NAME,
    ManyWildcards,
    has_many,
)

_SPECIAL = re.compile(r"[*?\[\]\\]")
_ANY_TEXT: Final = "(?s:.*)"


class DockerGlob:
    """A pattern for paths from the root, in the sense of Docker's patternmatcher.

    Raises ValueError where Go finds a fault in it.
    """

    def __init__(self, text: str) -> None:
        special = _SPECIAL.search(text)
        self._literal = text if special is None else text[: special.start()]
        self._is_literal = special is None
        parts = _translate(text)
        self._regex = re.compile("".join(parts))
        self._many = ManyWildcards(parts) if has_many(parts) else None

    def matches(self, path: str) -> bool:
        """Whether it is this very path; what lies in it is not asked for."""
        if self._many is not None:
            return self._many.matches(path)
        return self._regex.fullmatch(path) is not None

    def may_match_in(self, directory: str) -> bool:
        """Whether a path in this directory could match, judged by the glob's literal start."""
        if self._is_literal:
            return self._literal.startswith(f"{directory}/")
        base = self._literal.rpartition("/")[0]
        return (
            not base or f"{base}/".startswith(f"{directory}/") or directory.startswith(f"{base}/")
        )


def _translate(text: str) -> list[str]:
    """The parts of the expression that matches, in full, what the glob matches.

    Where `**` is all that is special, and at an end, Docker compares plain text: `**a` matches
    `ba`, and `a**` matches `ab/c`.
    """
    if text.startswith("**") and not _SPECIAL.search(text, len("**")):
        rest = text[len("**") :]
        return (
            ["(?s:.*/)?", re.escape(rest[1:])] if rest[:1] == "/" else [_ANY_TEXT, re.escape(rest)]
        )
    if text.endswith("**") and not _SPECIAL.search(text[: -len("**")]):
        return [re.escape(text[: -len("**")]), _ANY_TEXT]
    parts = []
    index = 0
    while index < len(text):
        part, index = _translate_next(text, index)
        parts.append(part)
    return parts


def _translate_next(text: str, index: int) -> tuple[str, int]:
    character = text[index]
    if text.startswith("**", index):
        end = index + len("**")
        end += text.startswith("/", end)
        return (ANYTHING if end == len(text) else DIRECTORIES), end
    if character == "*":
        return WITHIN_NAME, index + 1
    if character == "?":
        return "[^/]", index + 1
    if character == "[":
        return _translate_class(text, index + 1)
    if character == "\\":
        escaped = text[index + 1 : index + 2]
        if not escaped:
            raise ValueError("a backslash should be followed by the character it stands before")
        return re.escape(escaped), index + 2
    return re.escape(character), index + 1


def _translate_class(text: str, index: int) -> tuple[str, int]:
    """A bracket expression, from behind its bracket on."""
    is_negated = text[index : index + 1] == "^"
    index += is_negated
    members = ""
    while not members or text[index : index + 1] != "]":
        first, index = _read_bound(text, index)
        last = first
        if text[index : index + 1] == "-":
            last, index = _read_bound(text, index + 1)
        if last < first:
            raise ValueError(f"nothing is between {first!r} and {last!r}")
        members += f"{re.escape(first)}-{re.escape(last)}"
    return f"[{'^' if is_negated else ''}{members}]", index + 1


def _read_bound(text: str, index: int) -> tuple[str, int]:
    character = text[index : index + 1]
    if character in ("", "-", "]"):
        raise ValueError("a '[' should have its ']', and '-' and ']' between them a backslash")
    if character == "\\":
        index += 1
        character = text[index : index + 1]
        if not character:
            raise ValueError("a '[' should have its ']'")
    return character, index + 1
