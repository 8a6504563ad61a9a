from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_mltrain.cli.table import (
    render_duration,
    render_size,
    render_table,
    render_time,
)
from airflow_mltrain.cli.terminal_text import clip


def test_columns_stand_below_their_headings() -> None:
    # given
    rows = [("tiny", "1"), ("a-long-name", "12")]

    # when
    table = render_table(("NAME", "SIZE"), rows)

    # then
    assert table == "NAME         SIZE\ntiny         1\na-long-name  12"


def test_a_cell_moves_no_cursor_and_hides_nothing() -> None:
    # given
    rows = [("a\x1b[2J\r\nb", "1"), ("left\u202eright", "2"), ("\udcff", "3")]

    # when
    table = render_table(("NAME", "SIZE"), rows)

    # then
    assert table.split("\n") == [
        "NAME             SIZE",
        "a\\x1b[2J\\r\\nb    1",
        "left\\u202eright  2",
        "\\udcff           3",
    ]


def test_letters_that_take_two_columns_count_as_two() -> None:
    # when
    table = render_table(("NAME", "SIZE"), [("日本", "1"), ("abcdef", "2"), ("e\u0301", "3")])

    # then
    assert table.split("\n") == ["NAME    SIZE", "日本    1", "abcdef  2", "e\u0301       3"]


def test_text_that_is_too_wide_is_cut_where_it_fits() -> None:
    assert clip("日本語", 6) == "日本語"
    assert clip("日本語", 5) == "日本…"
    assert clip("日本語", 4) == "日…"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1.0, "0.0 s"), (9.94, "9.9 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (1e6, "11 d 13 h")],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds: float, shown: str) -> None:
    assert render_duration(seconds) == shown


def test_a_table_without_rows_is_its_headings() -> None:
    # when
    table = render_table(("NAME", "SIZE"), [])

    # then
    assert table == "NAME  SIZE"


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (201_300_000, "201.3 MB"),
        (50 * 10**9, "50.0 GB"),
        (10**16, "10000.0 TB"),
    ],
)
def test_a_size_is_shown_in_the_unit_that_suits_it(size_bytes: int, shown: str) -> None:
    # when
    size = render_size(size_bytes)

    # then
    assert size == shown


def test_a_time_is_shown_in_utc() -> None:
    # given
    in_vienna = datetime(2026, 11, 24, 0, 30, tzinfo=timezone(timedelta(hours=1)))

    # when
    shown = render_time(in_vienna)

    # then
    assert shown == "2026-11-23 23:30"
