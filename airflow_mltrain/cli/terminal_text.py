"""Text of unknown origin as a terminal may have it: it moves no cursor and hides nothing."""

from __future__ import annotations

from unicodedata import combining, east_asian_width


def printable(text: str) -> str:
    """The text on one line: whatever is not shown as itself is written as its escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def printable_lines(text: str) -> str:
    """The text with its lines, each of them printable."""
    return "\n".join(printable(line) for line in text.split("\n"))


def width_of(text: str) -> int:
    """How many columns of a terminal a printable text takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def clip(text: str, columns: int) -> str:
    """The text, or as much of its beginning as fits with an ellipsis behind it."""
    if width_of(text) <= columns:
        return text
    kept, room = [], columns - 1
    for one in text:
        room -= _width(one)
        if room < 0:
            break
        kept.append(one)
    return "".join(kept) + "…"


def _width(character: str) -> int:
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
