from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_mltrain.cli.table import render_size, render_table, render_time


def test_columns_stand_below_their_headings() -> None:
    # given
    rows = [("tiny", "1"), ("a-long-name", "12")]

    # when
    table = render_table(("NAME", "SIZE"), rows)

    # then
    assert table == "NAME         SIZE\ntiny         1\na-long-name  12"


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
