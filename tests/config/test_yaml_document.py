"""YAML files that are read with their lines, and edited in place."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from airflow_mltrain.config.yaml_document import Location, YamlDocument
from airflow_mltrain.errors import ConfigurationError

TEXT = """\
# head
script: train.py   # the script
empty:
nested:
    # a comment inside
    one: 1
    deep: {a: 1, b: [x, y]}

list:
- first
- second   # the second

# tail
last: |
  two
  lines
"""


@pytest.mark.parametrize(
    "changes",
    [
        {("script",): "other.py"},
        {("empty",): {"a": [1]}},
        {("empty", "a", "b"): 1, ("empty", "a", "c"): None},
        {("nested", "one"): [1, "x: y"], ("nested", "deep", "a"): "ü"},
        {("nested", "two"): True, ("nested", "deep", "c"): "#"},
        {("list",): []},
        {("nested",): {"one": 1, "deep": {"a": True, "b": ["x", "y"]}}},
        {("list",): ["zeroth", "second", {"a": 1}]},
        {("last",): "one\nline: more", ("new", "deep"): {"k": "v"}, ("new", "other"): 1},
        {("nested", "one", "was", "a number"): 2},
    ],
)
def test_only_what_is_changed_is_changed(changes: dict[Location, Any]) -> None:
    document = YamlDocument.parse(Path("file.yml"), TEXT)
    expected = document.data
    for location, value in changes.items():
        inner = expected
        for part in location[:-1]:
            if not isinstance(inner.get(part), dict):  # type: ignore[arg-type]
                inner[part] = {}  # type: ignore[index]
            inner = inner[part]  # type: ignore[index]
        inner[location[-1]] = value  # type: ignore[index]

    edited = document.edited(changes)

    assert yaml.safe_load(edited) == expected
    assert as_text(yaml.safe_load(edited)) == as_text(expected)  # for 1 is True
    assert {"# head", "# tail"} <= set(edited.splitlines())
    assert edited.count("# ") >= 4


VALUES = st.recursive(
    st.booleans() | st.integers(0, 3) | st.sampled_from(["", "a", "# b", "c: d", "e\nf", "yes"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "no", "1", "x y"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@examples(max_examples=100)
@given(before=VALUES, after=VALUES, is_flow=st.sampled_from([True, False, None]))
def test_whatever_becomes_of_a_value_the_text_says_it(
    before: object, after: object, *, is_flow: bool | None
) -> None:
    first, second, third = (copy.deepcopy(before) for _ in range(3))  # no aliases
    values = {"first": [first, second], "second": {"deep": third, "last": 1}}
    text = yaml.safe_dump(values, default_flow_style=is_flow) + "# tail\n"
    document = YamlDocument.parse(Path("f"), text)

    edited = document.edited({("first",): [before, after], ("second", "deep"): after})

    found = yaml.safe_load(edited)
    assert as_text(found) == as_text(
        {"first": [before, after], "second": {"deep": after, "last": 1}}
    )
    assert edited.endswith("# tail\n")


def as_text(value: Any) -> Any:
    """The value with its numbers as text, for an edit leaves 1 where '1' is to be."""
    if isinstance(value, dict):
        return {key: as_text(one) for key, one in value.items()}
    if isinstance(value, list):
        return [as_text(one) for one in value]
    return value if isinstance(value, bool) else str(value)


def test_what_is_not_changed_stays_as_it_was() -> None:
    assert YamlDocument.parse(Path("f"), TEXT).edited({}) == TEXT
    assert YamlDocument.parse(Path("f"), "").edited({("a",): 1}) == "a: 1\n"
    assert YamlDocument.parse(Path("f"), "a: {}").edited({("a", "b"): 1}) == 'a: {"b": 1}'


def test_a_place_is_a_line() -> None:
    document = YamlDocument.parse(Path("file.yml"), TEXT)

    assert document.place(("script",)) == "file.yml:2"
    assert document.place(("nested", "deep", "b", 1)) == "file.yml:7"
    assert document.place(("nested", "absent")) == "file.yml:4"
    assert document.place(("list", 1)) == "file.yml:11"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: [", r"f:2: this is not YAML"),
        ("a: 1\nb: 2\na: 3", r"f:3: 'a' is here twice"),
        ("a: &x [1]\nb: *x", r"f:2: '\*x' refers"),
        ("a: 1\n2: b", r"f:2: a key should be text"),
        ("a: 1\n<<: {b: 1}", r"f:2: a key should be text"),
        ("- a", r"f:1: keys should be here"),
        ("a: 1\nb: 2026-13-45", r"f:2: this is no timestamp; write it in quotes"),
        ("a: 1\nb: [!!bool foo]", r"f:2: this is no bool"),
        ("a: 1\nb: !!timestamp foo", r"f:2: this is no timestamp"),
        ("a: 1\nb: !!int ''", r"f:2: this is no int"),
        ("a: 1\nb: {c: !!float ''}", r"f:2: this is no float"),
        ("[" * 200, "YAML|deeply"),
        ("a: !!python/object:os.system {}", "python/object"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(text: str, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        YamlDocument.parse(Path("f"), text).data  # noqa: B018
