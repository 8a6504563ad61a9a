"""The text of the requirements files that uv and pip read alike."""

import os
import re
from typing import Any, Iterable, List, Mapping

_HASHES = re.compile(r"\s+--hash[= ]\S+")


def write_requirements(path: str, lines: Iterable[str]) -> str:
    """Write a requirements file and return its path."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines("{}\n".format(line) for line in lines)
    return path


def choice_lines(index: Mapping[str, Any]) -> List[str]:
    """The options of a recipe's index about wheels and sources."""
    lines = ["--no-binary {}".format(name) for name in index["no_binary"]]
    return lines + ["--only-binary {}".format(name) for name in index["only_binary"]]


def place_lines(
    extra_urls: Iterable[str], find_links: Iterable[str], *, no_index: bool
) -> List[str]:
    """The options about where packages are, besides the one index."""
    lines = ["--no-index"] if no_index else []
    lines += ["--extra-index-url {}".format(url) for url in extra_urls]
    return lines + ["--find-links {}".format(url) for url in find_links]


def read_lock(text: str) -> List[str]:
    """The packages of what `uv pip compile` or `pip freeze` wrote, one a line, sorted."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = (" ".join(line.split()) for line in joined.splitlines())
    return sorted(line for line in lines if line and not line.startswith(("#", "-")))


def are_all_hashed(lines: Iterable[str]) -> bool:
    """Whether every package has a hash; an empty lock has nothing to check."""
    found = [_HASHES.search(line) is not None for line in lines]
    return bool(found) and all(found)


def without_hashes(lines: Iterable[str]) -> List[str]:
    """The same packages, where not all have a hash and a tool would insist that all had."""
    return [_HASHES.sub("", line) for line in lines]


def normalize(name: str) -> str:
    """A package's name as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()
