"""A YAML file that knows on which line each of its keys stands, and can be edited in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml  # type: ignore[import-untyped] # its stubs are a package of their own
from pydantic.alias_generators import to_snake

from airflow_mltrain.config.small_file import read_small
from airflow_mltrain.config.yaml_edit import Edit, append, change, replace, write
from airflow_mltrain.errors import ConfigurationError

Location: TypeAlias = tuple[int | str, ...]
"""The keys, and numbers in lists, that lead to a value."""

_LARGEST_BYTES: Final = 1_000_000
_DEEPEST: Final = 50
# What PyYAML raises of a date of month 13, `!!bool foo`, `!!timestamp foo` and `!!int ''`.
_NO_SUCH_VALUE: Final = (ValueError, KeyError, AttributeError, IndexError)


@dataclass(frozen=True)
class YamlDocument:
    """The text of a YAML file and what it says; its keys are text, and none is there twice."""

    path: Path
    text: str
    root: yaml.Node | None

    @classmethod
    def read(cls, path: Path) -> YamlDocument:
        """Read the file; raises ConfigurationError with the line of what is no YAML."""
        return cls.parse(path, read_text(path))

    @classmethod
    def parse(cls, path: Path, text: str) -> YamlDocument:
        """Take `text` for what the file says; raises as `read` does."""
        document = cls(path, text, compose(path, text))
        document._check(document.root, 0)
        return document

    @property
    def data(self) -> dict[str, Any]:
        """What the file says, as plain data; raises ConfigurationError unless it has keys."""
        if self.root is None:
            return {}
        if not isinstance(self.root, yaml.MappingNode):
            raise ConfigurationError(f"{self.place(())}: keys should be here, 'key: value'")
        loader = yaml.SafeLoader("")
        try:
            data: dict[str, Any] = loader.construct_document(self.root)
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{self.path}: {error}; write it in quotes") from None
        except _NO_SUCH_VALUE:
            raise self._refuse_scalar() from None
        finally:
            loader.dispose()
        return data

    def place(self, location: Sequence[int | str]) -> str:
        """Where that is, as `file:line`; of what is not there, where it would belong."""
        key, _, _ = self._descend(tuple(location))
        mark = key or self.root
        return f"{self.path}:{mark.start_mark.line + 1 if mark is not None else 1}"

    def find(self, *location: int | str) -> yaml.Node | None:
        """The node of a value; None where there is none."""
        _, node, depth = self._descend(location)
        return node if depth == len(location) else None

    def spell(self, value: Any, *location: int | str) -> Any:
        """The value with its numbers as text where they are written otherwise: 0.10 is not 0.1."""
        if isinstance(value, list):
            return [self.spell(one, *location, index) for index, one in enumerate(value)]
        if isinstance(value, dict):
            return {key: self.spell(one, *location, key) for key, one in value.items()}
        node = self.find(*location)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and isinstance(node, yaml.ScalarNode) and node.value != str(value):
            return node.value
        return value

    @contextmanager
    def at(self, *location: int | str) -> Iterator[None]:
        """Say in errors of what is made of a key where that is in the file."""
        try:
            yield
        except ConfigurationError as error:
            key = ".".join(map(str, location))
            where = f"{self.place(location)}: {key}" if location else str(self.path)
            raise ConfigurationError(f"{where}: {error}") from None

    def edited(self, changes: Mapping[Location, Any]) -> str:
        """The text with other values in some places, and every other character as it was."""
        edits = [
            edit
            for location, value in self._join(changes).items()
            for edit in self._edit(location, value)
        ]
        text = self.text
        edits.sort(key=lambda edit: edit[:2])
        for start, end, new in reversed(edits):
            text = text[:start] + new + text[end:]
        return text

    def _refuse_scalar(self) -> ConfigurationError:
        for node in _list_scalars(self.root):
            try:
                yaml.SafeLoader("").construct_object(node)
            except _NO_SUCH_VALUE:
                line, kind = node.start_mark.line + 1, node.tag.rpartition(":")[2]
                return ConfigurationError(
                    f"{self.path}:{line}: this is no {kind}; write it in quotes if it is text"
                )
        return ConfigurationError(f"{self.path}: a value is not of its type; write it in quotes")

    def _edit(self, location: Location, value: Any) -> list[Edit]:
        """From where to where there is to be which text."""
        key, node, depth = self._descend(location)
        if depth == len(location) and key is not None and node is not None:
            edits = change(self.text, node, value)
            return [replace(self.text, key, node, value)] if edits is None else edits
        for part in reversed(location[depth + 1 :]):
            value = {part: value}
        if node is None or (depth == 0 and not node.flow_style):
            gap = "" if self.text.endswith("\n") or not self.text else "\n"
            line = f"{location[depth]}: {write(value)}"
            return [(len(self.text), len(self.text), f"{gap}{line}\n")]
        return [append(self.text, node, {str(location[depth]): value})]

    def _join(self, changes: Mapping[Location, Any]) -> dict[Location, Any]:
        """The changes, those below a key that is not there, or has no keys, as one."""
        joined: dict[Location, Any] = {}
        for location, value in changes.items():
            _, node, depth = self._descend(location)
            depth += isinstance(node, yaml.MappingNode) or not depth
            head, rest = location[:depth], location[depth:]
            if not rest:
                joined[head] = value
                continue
            inner = joined[head] if isinstance(joined.get(head), dict) else {}
            joined[head] = inner
            for part in rest[:-1]:
                inner = inner.setdefault(part, {})
            inner[rest[-1]] = value
        return joined

    def _descend(self, location: Location) -> tuple[yaml.Node | None, yaml.Node | None, int]:
        """The last key and value on the way to a place, and how far they are on it."""
        key, node, depth = None, self.root, 0
        while depth < len(location) and (found := _find(node, location[depth])) is not None:
            key, node = found
            depth += 1
        return key, node, depth

    def _check(self, node: yaml.Node | None, depth: int) -> None:
        if depth > _DEEPEST:
            raise ConfigurationError(f"{self.path}: it is nested too deeply to be read")
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._check(item, depth + 1)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                line = f"{self.path}:{key.start_mark.line + 1}"
                if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                    raise ConfigurationError(f"{line}: a key should be text; write it in quotes")
                if key.value in seen:
                    raise ConfigurationError(
                        f"{line}: {key.value!r} is here twice; leave one of them"
                    )
                seen.add(key.value)
                self._check(value, depth + 1)


def construct(node: yaml.Node) -> Any:
    """What a node of a document says, as plain data."""
    return yaml.SafeLoader("").construct_object(node, deep=True)


def compose(path: Path, text: str) -> yaml.Node | None:
    """The nodes of YAML text; raises ConfigurationError with the line of what is none."""
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                line = event.start_mark.line + 1
                raise ConfigurationError(
                    f"{path}:{line}: '*{event.anchor}' refers elsewhere; write what is there"
                )
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{path}:{line}: this is not YAML: {error.problem}") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: it is nested too deeply to be read") from None
    except yaml.YAMLError:
        raise ConfigurationError(f"{path}: this is not YAML, but has odd characters") from None


def read_text(path: Path) -> str:
    """The text of a file; raises ConfigurationError where it cannot be read, or is no text."""
    try:
        return read_small(path, _LARGEST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: byte {error.start} is not UTF-8") from None


def _list_scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif node is not None:
        for item in node.value:
            for one in item if isinstance(item, tuple) else (item,):
                yield from _list_scalars(one)


def _find(node: yaml.Node | None, part: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """The key and the value that `part` leads to; of an item of a list, the item twice."""
    if isinstance(node, yaml.MappingNode):
        names = (part, to_snake(str(part)))  # Azure ML takes either spelling
        found = [(key, value) for key, value in node.value if key.value in names]
        return next((one for one in found if one[0].value == part), found[0] if found else None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None
