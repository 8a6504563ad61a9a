"""Many wildcards in one glob: what an expression would say, in the time that one never takes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.snapshots.dockerignore import DockerIgnoreRules
from airflow_mltrain.snapshots.ignore import IgnoreRules
from airflow_mltrain.snapshots.many_wildcards import (
    ANYTHING,
    DIRECTORIES,
    WITHIN_NAME,
    ManyWildcards,
)

_parts = st.lists(
    st.sampled_from([WITHIN_NAME, DIRECTORIES, ANYTHING, "a", "b/", "[^/]", "[^b]", "/"]),
    max_size=9,
)
_texts = st.text("ab/\n", max_size=9)
_HOSTILE = [
    ("*a" * 12 + "*b", "a" * 200),
    ("**/a/" * 12 + "b", "a/" * 100 + "c"),
    ("**/*a*/" * 8 + "b", "aaaa/" * 60 + "c"),
]


@given(parts=_parts, text=_texts, flags=st.sampled_from([0, re.DOTALL]))
def test_part_by_part_the_same_is_matched_as_by_an_expression(
    parts: list[str], text: str, flags: int
) -> None:
    # given
    expression = re.compile("".join(parts), flags)
    # when
    is_match = ManyWildcards(parts, flags).matches(text)
    # then
    assert is_match == (expression.fullmatch(text) is not None)


@pytest.mark.parametrize(("pattern", "path"), _HOSTILE)
def test_a_hostile_pattern_of_git_does_not_take_for_ever(pattern: str, path: str) -> None:
    # given
    rules = IgnoreRules.at_root(pattern.encode())
    like_it = f"{path[:-1]}b"
    # when
    ignored = [
        rules.ignores(text.encode(), text.rpartition("/")[2].encode(), is_directory=False)
        for text in (path, like_it)
    ]
    # then
    assert ignored == [False, True]


@pytest.mark.parametrize(("pattern", "path"), _HOSTILE)
def test_a_hostile_pattern_of_docker_does_not_take_for_ever(pattern: str, path: str) -> None:
    # given
    rules = DockerIgnoreRules.parse(pattern.encode())
    # when
    ignored = [
        rules.ignores(text.encode(), b"", is_directory=False) for text in (path, f"{path[:-1]}b")
    ]
    # then
    assert ignored == [False, True]
