"""Texts that people, or tools of theirs, might give for packages and indexes: all are answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.package_url import remove_user_part
from airflow_mltrain.config.requirement import RequirementLine
from airflow_mltrain.config.requirements_file import read_requirements_file
from airflow_mltrain.errors import ConfigurationError

_PASSWORD = "hunter2"  # noqa: S105
_MANY = 200_000
_lines = st.lists(
    st.sampled_from(
        [
            *(
                "a",
                "Scikit_Learn",
                "b.c",
                "1.0",
                "2",
                " ",
                " ",
                "==",
                ">=",
                "~=",
                "!=",
                "===",
                ",",
            ),
            *("[", "]", "(", ")", ";", "@", " @ ", "https://h/x.whl", "#sha256=" + "0" * 64),
            *("python_version", "<", '"3.9"', " and ", " or ", "'", '"', "\\", "é", "*", "=", "-"),
            *(" --hash=sha256:" + "a" * 64, "file:", "git+https://h/r", "\x00", "\u2028"),
        ]
    ),
    min_size=1,
    max_size=7,
).map("".join)
_around = st.lists(
    st.sampled_from(["a", " ", " @ ", "==1", "--hash=", "-i ", "git+", ";", ",", "?", "%", "$"]),
    max_size=3,
).map("".join)
_urls = st.builds(
    "{}{}://{}:{}@{}".format,
    st.sampled_from(["", "git+", "hg+", "git+git+", "x" * 80]),
    st.sampled_from(["https", "http", "ftp", "ssh", "HTTPS"]),
    st.sampled_from(["user", "", "${NAME}", "us%40er", "u@v"]),
    st.sampled_from([_PASSWORD, f"{_PASSWORD}@x", f"$ {_PASSWORD}", f"a/{_PASSWORD}"]),
    st.sampled_from(["h", "h/x.whl", "h:port/", "[::1", ""]),
)


@given(line=_lines)
def test_a_line_means_what_pip_reads_in_it_or_is_refused(line: str) -> None:
    # when
    try:
        parsed = RequirementLine.parse(line)
    except ValueError:
        return

    # then
    pips = Requirement(line.partition(" --")[0].strip())
    again = Requirement(parsed.text)
    assert parsed.name == canonicalize_name(pips.name)
    assert (again.specifier, again.url, again.marker) == (pips.specifier, pips.url, pips.marker)
    assert RequirementLine.parse(str(parsed)) == parsed


@given(before=_around, url=_urls, after=_around)
def test_no_refusal_shows_a_password(before: str, url: str, after: str) -> None:
    # given
    text = f"{before}{url}{after}"
    environment = Environment("quoted")

    # when
    words = [
        _refusal(lambda: setattr(environment.python, "packages", [text])),
        _refusal(lambda: setattr(environment.python.index, "url", text)),
    ]

    # then
    assert _PASSWORD not in "".join(words)
    assert _PASSWORD not in repr(environment)


@pytest.mark.parametrize(
    "line", ["a; " + "(" * 5000, "a; " + "(" * 5000 + "python_version > '3'" + ")" * 5000]
)
def test_a_marker_that_is_nested_too_deeply_is_refused(line: str) -> None:
    # when, then
    with pytest.raises(ValueError, match="nested too deeply"):
        RequirementLine.parse(line)


@pytest.mark.parametrize("text", ["a" * _MANY, f"https://{'a' * _MANY}", "h://" * _MANY])
def test_a_long_text_without_a_password_stays_as_it_is(text: str) -> None:
    # when, then
    assert remove_user_part(text) == text


@pytest.mark.parametrize("line", ["", "a"])
def test_a_line_of_very_many_spaces_is_read(tmp_path: Path, line: str) -> None:
    # given
    path = tmp_path / "requirements.txt"
    path.write_text(f"{line}{' ' * _MANY}\t# the end\n{' ' * _MANY}\n")

    # when
    packages = read_requirements_file(path).packages

    # then
    assert packages == ([line] if line else [])


def _refusal(assign: object) -> str:
    assert callable(assign)
    try:
        assign()
    except ConfigurationError as error:
        return str(error)
    return ""
