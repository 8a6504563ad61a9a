"""A requirements file, read as pip reads it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from airflow_mltrain.config.fault import describe
from airflow_mltrain.config.package_url import check_url
from airflow_mltrain.config.python_section import check_host, check_selection
from airflow_mltrain.config.requirement import (
    RequirementLine,
    check_constraint,
    check_requirement,
    describe_missing_hash,
)
from airflow_mltrain.config.small_file import read_small
from airflow_mltrain.config.text import is_template
from airflow_mltrain.errors import ConfigurationError

TEMPLATE_IN_FILE: Final = (
    "nothing renders a Jinja template in a file; write the value, or assign the line with the "
    "template to the environment itself"
)

_COMMENT = re.compile(r"(^|\s)#.*$")
_HASHES = re.compile(r"\s--hash\b.*")
_LONG_NAMES: Final = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-i": "--index-url",
    "-f": "--find-links",
    "-e": "--editable",
}
_FLAGS: Final = ("--no-index", "--pre", "--prefer-binary", "--require-hashes")
_INCLUDES: Final = ("--requirement", "--constraint")
_WITH_VALUE: Final = (
    *_INCLUDES,
    "--index-url",
    "--extra-index-url",
    "--find-links",
    "--no-binary",
    "--only-binary",
    "--trusted-host",
)


class Line(NamedTuple):
    """One logical line, comments taken off, and where it begins: `file:number`."""

    place: str
    text: str


@dataclass
class RequirementsFile:
    """What a requirements file asks for; `index` has the names of `python.index`."""

    packages: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    index: dict[str, Any] = field(default_factory=dict)


def read_requirements_file(path: Path) -> RequirementsFile:
    """Read a file and all that it includes.

    Raises ConfigurationError, with the file and the line, for what cannot be had on another
    machine or is not understood.
    """
    reader = RequirementsReader()
    reader.read_file(path, place="", is_constraint=False)
    return reader.finish()


class RequirementsReader:
    """Collects requirement lines and options from one or more places."""

    def __init__(self, *, may_include: bool = True) -> None:
        self._found = RequirementsFile()
        self._lines: list[Line] = []  # of the packages
        self._open: list[Path] = []  # each includes the next
        self._may_include = may_include
        self._needs_hashes = False

    def finish(self) -> RequirementsFile:
        """What was found; raises ConfigurationError where only some packages have hashes."""
        packages = [RequirementLine.parse(line.text) for line in self._lines]
        if self._needs_hashes or any(package.hashes for package in packages):
            for line, package in zip(self._lines, packages, strict=True):
                if fault := describe_missing_hash(package):
                    raise ConfigurationError(f"{line.place}: {describe(package.text)} {fault}")
        return self._found

    def read_file(self, path: Path, *, place: str, is_constraint: bool) -> None:
        """Read one file; `place` is the line that includes it, if one does."""
        text = _read_text(path, place)
        resolved = path.resolve()
        if resolved in self._open:
            chain = " includes ".join(str(one) for one in [*self._open, resolved])
            raise _refuse(place, f"{chain}; take one of these lines out")
        self._open.append(resolved)
        for line in _split_lines(path, text):
            self.read_line(line, path.parent, is_constraint=is_constraint)
        self._open.pop()

    def read_line(self, line: Line, folder: Path, *, is_constraint: bool = False) -> None:
        """Take one requirement, or one line of options; paths in it count from `folder`."""
        if is_template(line.text):
            raise _refuse(line.place, TEMPLATE_IN_FILE)
        if line.text.startswith("-"):
            for option, value in _split_options(line):
                if option in _INCLUDES:
                    self._check_include(line.place, option, value)
                    constrains = is_constraint or option == "--constraint"
                    self.read_file(folder / value, place=line.place, is_constraint=constrains)
                else:
                    self._set(line.place, option, value)
        elif is_constraint:
            _check(line.place, line.text, check_requirement)
            text = _HASHES.sub("", line.text)  # a lock of all, of which only the versions count
            self._found.constraints.append(_check(line.place, text, check_constraint))
        else:
            self._found.packages.append(_check(line.place, line.text, check_requirement))
            self._lines.append(line)

    def _check_include(self, place: str, option: str, value: str) -> None:
        if not self._may_include:
            raise _refuse(place, f"{option} cannot be followed from here; write its lines here")
        if "://" in value:
            raise _refuse(place, f"{option} should be a file; download it beside this one first")

    def _set(self, place: str, option: str, value: str) -> None:
        index = self._found.index
        if option == "--index-url":
            index["url"] = _check(place, value, check_url)
        elif option == "--extra-index-url":
            index.setdefault("extra_urls", []).append(_check(place, value, check_url))
        elif option == "--find-links":
            index.setdefault("find_links", []).append(_check_links(place, value))
        elif option == "--trusted-host":
            index.setdefault("trusted_hosts", []).append(_check(place, value, check_host))
        elif option in ("--no-binary", "--only-binary"):
            self._select(place, option, value)
        elif option == "--require-hashes":
            self._needs_hashes = True
        elif option != "--prefer-binary":  # a wish, which a lock makes pointless
            index[option.removeprefix("--").replace("-", "_")] = True

    def _select(self, place: str, option: str, value: str) -> None:
        index = self._found.index
        chosen: list[str] = index.setdefault(option[2:].replace("-", "_"), [])
        opposite = "only_binary" if option == "--no-binary" else "no_binary"
        others: list[str] = index.get(opposite, [])
        for word in value.split(","):
            name = _check(place, word.strip(), check_selection)
            if name in (":all:", ":none:"):
                chosen.clear()
            if name == ":all:":
                others.clear()
            if name in others:
                others.remove(name)
            if name != ":none:" and name not in chosen:
                chosen.append(name)


def _read_text(path: Path, place: str) -> str:
    try:
        return read_small(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refuse(
            str(path), f"byte {error.start} is not UTF-8; save the file as UTF-8"
        ) from None
    except ValueError:
        raise _refuse(place, f"{str(path)!a} is no path of a file") from None
    except OSError as error:
        raise _refuse(place, f"{path} cannot be read: {error.strerror}") from None


def _split_lines(path: Path, text: str) -> Iterator[Line]:
    begun: list[str] = []
    start = 1
    for number, line in enumerate(text.splitlines(), start=1):
        if not begun:
            start = number
        is_comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not is_comment:
            begun.append(line[:-1])
            continue
        begun.append(f" {line}" if is_comment else line)
        yield from _clean(path, start, begun)
        begun = []
    yield from _clean(path, start, begun)


def _clean(path: Path, number: int, parts: list[str]) -> Iterator[Line]:
    text = _COMMENT.sub("", "".join(parts)).strip()
    if text:
        yield Line(f"{path}:{number}", text)


def _split_options(line: Line) -> Iterator[tuple[str, str]]:
    try:
        words = shlex.split(line.text)
    except ValueError:
        raise _refuse(line.place, "its quotes should match") from None
    while words:
        option, value = _split_option(words.pop(0))
        if option in _FLAGS and value is None:
            yield option, ""
        elif option in _WITH_VALUE:
            if value is None and not words:
                raise _refuse(line.place, f"{option} should be followed by its value")
            yield option, words.pop(0) if value is None else value
        else:
            raise _refuse(line.place, _describe_unknown(option, line.text))


def _split_option(word: str) -> tuple[str, str | None]:
    if not word.startswith("-"):
        return word, None
    if word.startswith("--"):
        option, equals, value = word.partition("=")
        return option, value if equals else None
    return _LONG_NAMES.get(word[:2], word[:2]), word[2:].removeprefix("=") or None


def _describe_unknown(option: str, text: str) -> str:
    if option == "--editable":
        return (
            "an editable install is a folder of this machine; build a wheel of it, and add what "
            "Environment.add_private_pip_wheel returns to python.packages"
        )
    if not option.startswith("-"):
        shown = text if "@" in text else option  # it may be the rest of a password
        return f"{describe(shown)} follows an option; write it on a line of its own"
    return f"option {option.partition(':')[0]} is not taken here; leave it out"


def _check(place: str, text: str, check: Callable[[str], str]) -> str:
    try:
        return check(text)
    except ValueError as error:
        raise _refuse(place, f"{describe(text)} was given; {error}") from None


def _check_links(place: str, value: str) -> str:
    if "://" not in value:
        raise _refuse(
            place,
            f"{describe(value)} is a folder of this machine; give --find-links a URL, or add its "
            "wheels with Environment.add_private_pip_wheel",
        )
    return _check(place, value, check_url)


def _refuse(place: str, fault: str) -> ConfigurationError:
    return ConfigurationError(f"{place}: {fault}" if place else fault)
