"""Git's globs as regular expressions; texts are Latin-1, so that a character is a byte."""

from __future__ import annotations

import re
import string

from airflow_mltrain.snapshots.many_wildcards import ANYTHING, DIRECTORIES, WITHIN_NAME

_SPECIAL = re.compile(r"[*?\[\\]")
_CLASSES = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "blank": " \t",
    "cntrl": "".join(map(chr, (*range(32), 127))),
    "digit": string.digits,
    "graph": string.ascii_letters + string.digits + string.punctuation,
    "lower": string.ascii_lowercase,
    "print": string.ascii_letters + string.digits + string.punctuation + " ",
    "punct": string.punctuation,
    "space": " \t\n\r",
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
}


def has_wildcards(glob: str) -> bool:
    """Whether the glob may match more than one text."""
    return re.search(r"[*?\[]", glob) is not None


def translate_glob(glob: str, *, is_path: bool) -> tuple[str, ...] | None:
    """The parts of the expression that matches, in full, what the glob does; None if nothing can.

    In a path, `**` between slashes stands for any directories; a name has no slashes.
    """
    special = _SPECIAL.search(glob)
    start = index = special.start() if special else len(glob)
    parts = [re.escape(glob[:start])]
    while index < len(glob):
        part, index = _translate_next(glob, index, start if is_path else None)
        if part is None:
            return None
        parts.append(part)
    return tuple(parts)


def _translate_next(glob: str, index: int, path_start: int | None) -> tuple[str | None, int]:
    character = glob[index]
    if character == "*":
        return _translate_stars(glob, index, path_start)
    if character == "?":
        return "[^/]", index + 1
    if character == "[":
        return _translate_set(glob, index + 1)
    if character == "\\":
        escaped = glob[index + 1 : index + 2]
        return re.escape(escaped) or None, index + 2
    return re.escape(character), index + 1


def _translate_stars(glob: str, index: int, path_start: int | None) -> tuple[str, int]:
    end = index
    while glob[end : end + 1] == "*":
        end += 1
    # Git cuts the literal start off first, so stars right behind it count as a whole segment.
    opens_segment = index == path_start or glob[index - 1 : index] == "/"
    closes_segment = end == len(glob) or glob.startswith(("/", "\\/"), end)
    if path_start is None or end - index == 1 or not (opens_segment and closes_segment):
        return WITHIN_NAME, end
    if glob[end : end + 1] == "/":
        return DIRECTORIES, end + 1
    return ANYTHING, end


def _translate_set(glob: str, index: int) -> tuple[str | None, int]:
    """A bracket expression, from behind its bracket on; None where it is malformed."""
    is_negated = glob[index : index + 1] in {"!", "^"}
    index += is_negated
    members: set[str] = set()
    previous = ""  # what a hyphen would start a range from
    is_first = True
    while is_first or glob[index : index + 1] != "]":
        is_first = False
        found, previous, index = _read_member(glob, index, previous)
        if found is None:
            return None, index
        members |= found
    chosen = (set(map(chr, range(256))) - members if is_negated else members) - {"/"}
    inside = "".join(f"\\x{ord(member):02x}" for member in sorted(chosen))
    return (f"[{inside}]" if inside else "(?!)"), index + 1


def _read_member(glob: str, index: int, previous: str) -> tuple[set[str] | None, str, int]:
    """One member of a set: what it adds (None: malformed), what a range may start at, the rest."""
    character = glob[index : index + 1]
    following = glob[index + 1 : index + 2]
    if character == "-" and previous and following not in {"", "]"}:
        index += 2 if following == "\\" else 1
        last = glob[index : index + 1]
        span = set(map(chr, range(ord(previous), ord(last) + 1))) if last else None
        return span, "", index + 1
    if character == "[" and following == ":":
        closing = glob.find("]", index + 2)
        if closing < 0:
            return None, "", index
        if closing > index + 2 and glob[closing - 1] == ":":
            named = _CLASSES.get(glob[index + 2 : closing - 1])
            return (set(named) if named else None), "", closing + 1
    if character == "\\":
        index += 1
        character = following
    return ({character} if character else None), character, index + 1
