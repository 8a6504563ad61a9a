"""A conda specification: the YAML file that says what a conda environment holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml  # type: ignore[import-untyped] # its stubs are a package of their own

from airflow_mltrain.config.conda_package import (
    check_channel,
    check_conda_package,
    find_exact_version,
    find_name,
    is_any_version,
    names_channel,
)
from airflow_mltrain.config.fault import describe
from airflow_mltrain.config.python_section import check_python_version
from airflow_mltrain.config.requirements_file import (
    TEMPLATE_IN_FILE,
    Line,
    RequirementsFile,
    RequirementsReader,
)
from airflow_mltrain.config.text import is_template
from airflow_mltrain.config.yaml_document import compose, read_text
from airflow_mltrain.errors import ConfigurationError

_KEYS: Final = ("name", "channels", "dependencies", "prefix", "variables")


@dataclass
class CondaSpecification:
    """What a specification asks for; `pip` is what stands below its `pip:`."""

    python_version: str | None = None
    conda_packages: list[str] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    pip: RequirementsFile = field(default_factory=RequirementsFile)
    variables: dict[str, str] = field(default_factory=dict)


def read_conda_specification(path: Path) -> CondaSpecification:
    """Read the file; without other conda packages than Python no conda is needed.

    Raises ConfigurationError, with the file and the line, for what is not understood.
    """
    return _Reader(path).read(_compose(path))


def read_conda_node(path: Path, node: yaml.Node) -> CondaSpecification:
    """Read a specification that is a part of another file, as `read_conda_specification` does."""
    return _Reader(path).read(node)


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._found = CondaSpecification()
        self._pip = RequirementsReader(may_include=False)
        self._python: yaml.Node | None = None

    def read(self, root: yaml.Node | None) -> CondaSpecification:
        for key, node in self._list_pairs(root):
            if key.value not in _KEYS:
                raise self._refuse(
                    key, f"{key.value!r} is no key of it; the keys are {', '.join(_KEYS)}"
                )
            if key.value == "dependencies":
                self._read_dependencies(node)
            elif key.value == "channels":
                self._found.channels = [
                    self._check(item, check_channel) for item in self._list_items(node)
                ]
            elif key.value == "variables":
                self._found.variables = {
                    name.value: self._text(value) for name, value in self._list_pairs(node)
                }
        return self._finish()

    def _finish(self) -> CondaSpecification:
        found = self._found
        found.pip = self._pip.finish()
        if self._python is not None:
            self._take_python(self._python)
        if not found.conda_packages:
            found.channels = []
        return found

    def _take_python(self, node: yaml.Node) -> None:
        found, text = self._found, self._text(node)
        version = find_exact_version(text)
        if version is not None and not (found.conda_packages and names_channel(text)):
            found.python_version = self._check(node, lambda _: check_python_version(version))
        elif found.conda_packages:
            found.conda_packages.append(self._check(node, check_conda_package))
        elif not is_any_version(text):
            raise self._refuse(
                node,
                f"{describe(text)} names no exact version of Python; write python=3.11 or "
                "python=3.11.7",
            )

    def _read_dependencies(self, node: yaml.Node) -> None:
        for item in self._list_items(node):
            if isinstance(item, yaml.MappingNode):
                for key, lines in self._list_pairs(item):
                    if key.value != "pip":
                        raise self._refuse(key, f"{key.value!r} should be a package, or 'pip'")
                    self._read_pip(lines)
            else:
                self._read_dependency(item)

    def _read_pip(self, node: yaml.Node) -> None:
        for item in self._list_items(node):
            line = Line(self._place(item), self._text(item).strip())
            self._pip.read_line(line, self._path.parent)

    def _read_dependency(self, node: yaml.Node) -> None:
        text = self._text(node)
        name = find_name(text)
        if name == "python":
            if self._python is not None:
                raise self._refuse(node, "python was asked for twice; leave one of them")
            self._python = node
        elif name != "pip":  # every environment gets its packages without it
            self._found.conda_packages.append(self._check(node, check_conda_package))

    def _list_pairs(self, node: yaml.Node | None) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        if node is None or _is_null(node):
            return []
        if not isinstance(node, yaml.MappingNode):
            raise self._refuse(node, "a mapping should be here, 'key: value'")
        seen: set[str] = set()
        for key, _ in node.value:
            if self._text(key) in seen:
                raise self._refuse(key, f"{key.value!r} is here twice; leave one of them")
            seen.add(key.value)
        return list(node.value)

    def _list_items(self, node: yaml.Node) -> list[yaml.Node]:
        if _is_null(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise self._refuse(node, "a list should be here, each item on a line with '- '")
        return list(node.value)

    def _text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or _is_null(node):
            raise self._refuse(node, "text should be here")
        return str(node.value)

    def _check(self, node: yaml.Node, check: Callable[[str], str]) -> str:
        text = self._text(node)
        if is_template(text):
            raise self._refuse(node, TEMPLATE_IN_FILE)
        try:
            return check(text)
        except ValueError as error:
            raise self._refuse(node, f"{describe(text)} was given; {error}") from None

    def _place(self, node: yaml.Node) -> str:
        return f"{self._path}:{node.start_mark.line + 1}"

    def _refuse(self, node: yaml.Node, fault: str) -> ConfigurationError:
        return ConfigurationError(f"{self._place(node)}: {fault}")


def _compose(path: Path) -> yaml.Node | None:
    return compose(path, read_text(path))


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")
