from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.runs.metric_line import parse_metric_lines


def line(name: str, value: object, **more: object) -> bytes:
    return json.dumps({"type": "metric", "name": name, "value": value, **more}).encode() + b"\n"


def test_half_a_line_waits_for_its_other_half() -> None:
    data = line("loss", 1.0, step=3, time=1.5) + b'{"type": "metric", "na'

    lines = parse_metric_lines(data, is_complete=False)

    [point] = lines.own.points
    assert (point.name, point.value, point.step) == ("loss", 1.0, 3)
    assert point.logged_at.timestamp() == 1.5
    assert lines.length == len(line("loss", 1.0, step=3, time=1.5))


def test_the_last_line_of_an_ended_job_needs_no_newline() -> None:
    data = line("loss", 1.0).rstrip(b"\n")

    assert len(parse_metric_lines(data, is_complete=True).own.points) == 1


@pytest.mark.parametrize(
    "foreign",
    [
        b"not json",
        b"[1, 2]",
        b'{"type": "metric"}',
        b'{"type": "metric", "name": 3, "value": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
        line("deep", json.loads("[" * 500 + "]" * 500)).rstrip(),
        line("deep", json.loads('{"a":' * 101 + "1" + "}" * 101)).rstrip(),
        b'{"type": "surprise", "name": "n", "value": 1}',
    ],
)
def test_a_foreign_line_costs_no_other(foreign: bytes) -> None:
    data = line("before", 1) + foreign + b"\n" + line("after", 2)

    lines = parse_metric_lines(data, is_complete=False)

    assert [point.name for point in lines.own.points] == ["before", "after"]
    assert lines.length == len(data)


def test_what_is_wide_is_not_deep() -> None:
    table = {f"column {number}": [[number]] for number in range(500)}

    [point] = parse_metric_lines(line("table", table), is_complete=True).own.points

    assert point.value == table


def test_a_time_that_is_none_is_no_reason_to_lose_a_value() -> None:
    data = line("a", 1, time="noon") + line("b", 2, time=1e300)

    assert len(parse_metric_lines(data, is_complete=False).own.points) == 2


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_survived(data: bytes, is_complete: bool) -> None:  # noqa: FBT001
    lines = parse_metric_lines(data, is_complete=is_complete)

    assert 0 <= lines.length <= len(data)


def test_a_property_is_read_unless_it_is_one_that_the_product_goes_by() -> None:
    data = (
        b'{"type": "property", "name": "owner", "value": "risk"}\n'
        b'{"type": "property", "name": "mltrain.place", "value": "elsewhere"}\n'
        b'{"type": "fact", "name": "spark.application_id", "value": "app-1"}\n'
        b'{"type": "fact", "name": "mltrain.place", "value": "elsewhere"}\n'
    )

    lines = parse_metric_lines(data, is_complete=True)

    assert lines.own.properties == {"owner": "risk"}
    assert lines.own.facts == {"spark.application_id": "app-1"}
