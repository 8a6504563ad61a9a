"""Edits of YAML text that leave comments, and everything that is not changed, as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any, Final, TypeAlias

import yaml  # type: ignore[import-untyped] # its stubs are a package of their own

Edit: TypeAlias = tuple[int, int, str]
"""From where to where there is to be which text."""

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def change(text: str, node: yaml.Node, value: Any) -> list[Edit] | None:
    """The edits that let a node say `value`, key by key or item by item; None if none can."""
    if not node.value or not value:
        return None
    if isinstance(node, yaml.MappingNode) and isinstance(value, dict):
        return _change_keys(text, node, value)
    if isinstance(node, yaml.SequenceNode) and isinstance(value, list) and not node.flow_style:
        return _change_items(text, node, value)
    return None


def append(text: str, node: yaml.MappingNode, values: Mapping[str, Any]) -> Edit:
    """Keys behind the last one of a mapping."""
    if node.flow_style:
        new = ", ".join(f"{write(key)}: {write(value)}" for key, value in values.items())
        if not node.value:
            start = int(node.start_mark.index) + 1
            return start, start, new
        end = _find_entry_end(text, *node.value[-1])
        return end, end, f", {new}"
    return _append_behind(text, node, node.value[-1], values)


def _find_end(text: str, node: yaml.Node) -> int:
    """Where a value ends; PyYAML takes blank lines and comments that follow for a part of it."""
    end = int(node.end_mark.index)
    if isinstance(node, yaml.ScalarNode):
        return len(text[:end].rstrip("\n")) if node.style in ("|", ">") else end
    if node.flow_style:
        return end
    last = node.value[-1]
    return _find_end(text, last[1] if isinstance(last, tuple) else last)


def write(value: Any) -> str:
    """A value as JSON, which is YAML on one line."""
    return json.dumps(value, ensure_ascii=False)


def _change_keys(text: str, node: yaml.MappingNode, value: dict[str, Any]) -> list[Edit] | None:
    edits: list[Edit] = []
    kept = [(key, one) for key, one in node.value if key.value in value]
    if not kept or (node.flow_style and len(kept) < len(node.value)):
        return None
    for key, one in node.value:
        if key.value not in value:
            start = _line_start(text, key)
            if text[start : key.start_mark.index].strip():
                return None
            edits.append((start, _line_end(text, _find_entry_end(text, key, one)) + 1, ""))
        elif not _says(one, value[key.value]):
            inner = change(text, one, value[key.value])
            edits += [replace(text, key, one, value[key.value])] if inner is None else inner
    known = [key.value for key, _ in node.value]
    if new := {key: one for key, one in value.items() if key not in known}:
        is_flow = node.flow_style
        edits.append(
            append(text, node, new) if is_flow else _append_behind(text, node, kept[-1], new)
        )
    return edits


def _change_items(text: str, node: yaml.SequenceNode, value: list[Any]) -> list[Edit] | None:
    items: list[yaml.Node] = node.value
    heads = [text[_line_start(text, item) : item.start_mark.index] for item in items]
    if any(head.strip() != "-" for head in heads):
        return None
    edits: list[Edit] = []
    were = [_identify(yaml.SafeLoader("").construct_object(item, deep=True)) for item in items]
    matcher = SequenceMatcher(None, were, [_identify(one) for one in value], autojunk=False)
    for tag, first, last, new_first, new_last in matcher.get_opcodes():
        if tag == "equal":
            for item, one in zip(items[first:last], value[new_first:new_last], strict=True):
                if isinstance(one, dict) and one:
                    inner = change(text, item, one)
                    if inner is None:
                        return None
                    edits += inner
            continue
        new = [f"{heads[0]}{write(one)}" for one in value[new_first:new_last]]
        if new and first == 0:
            start = _line_start(text, items[0])
            edits.append((start, start, "".join(f"{line}\n" for line in new)))
        elif new:
            end = _line_end(text, _find_end(text, items[first - 1]))
            edits.append((end, end, "".join(f"\n{line}" for line in new)))
        for item in items[first:last]:
            end = _line_end(text, _find_end(text, item)) + 1
            edits.append((_line_start(text, item), end, ""))
    return edits


def _append_behind(
    text: str,
    node: yaml.MappingNode,
    last: tuple[yaml.Node, yaml.Node],
    values: Mapping[str, Any],
) -> Edit:
    indent = " " * node.value[0][0].start_mark.column
    end = _line_end(text, _find_entry_end(text, *last))
    lines = [f"\n{indent}{_write_key(key)}: {write(one)}" for key, one in values.items()]
    return end, end, "".join(lines)


def replace(text: str, key: yaml.Node, node: yaml.Node, value: Any) -> Edit:
    """A value stays where it is on the line of its key, and else gets there."""
    behind_colon = text.index(":", key.end_mark.index) + 1
    is_beside = key.end_mark.line == node.start_mark.line
    if is_beside and node.start_mark.index > behind_colon:
        return node.start_mark.index, _find_end(text, node), write(value)
    return behind_colon, max(behind_colon, _find_end(text, node)), f" {write(value)}"


def _says(node: yaml.Node, value: Any) -> bool:
    """Whether a node says that value; a number says its text, too."""
    if isinstance(node, yaml.ScalarNode) and isinstance(value, str):
        kinds = ("str", "int", "float")
        return bool(node.value == value and node.tag.rpartition(":")[2] in kinds)
    said = yaml.SafeLoader("").construct_object(node, deep=True)
    return _write_sorted(said) == _write_sorted(value)  # for 1 is True


def _identify(value: Any) -> str:
    if isinstance(value, dict):
        return f"keys {sorted(value)}"
    return _write_sorted(value)


def _write_sorted(value: Any) -> str:
    return json.dumps(value, default=str, sort_keys=True)


def _find_entry_end(text: str, key: yaml.Node, node: yaml.Node) -> int:
    behind_colon = text.index(":", key.end_mark.index) + 1
    return max(behind_colon, _find_end(text, node))


def _line_start(text: str, node: yaml.Node) -> int:
    return text.rfind("\n", 0, node.start_mark.index) + 1


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end


def _write_key(key: str) -> str:
    is_plain = _PLAIN_KEY.fullmatch(key) and yaml.safe_load(key) == key
    return key if is_plain else write(key)
