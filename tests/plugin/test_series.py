"""How logged values become what a reader sees."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_mltrain.plugin.series import HEIGHT, WIDTH, arrange_series
from tests.plugin.conftest import a_metric


def test_a_value_logged_again_and_again_is_one_series() -> None:
    # given
    points = [a_metric("loss", 3), a_metric("note", "warm"), a_metric("loss", 1.5)]

    # when
    loss, note = arrange_series(points)

    # then
    assert (loss.name, loss.last, loss.count) == ("loss", "1.5", 2)
    assert (loss.lowest, loss.highest) == ("1.5", "3")
    assert (note.last, note.count, note.line) == ("warm", 1, ())


def test_the_columns_of_rows_are_series() -> None:
    # given
    points = [a_metric("epoch", {"auc": 0.5, "phase": "a"}), a_metric("epoch", {"auc": 0.75})]

    # when
    auc, phase = arrange_series(points)

    # then
    assert (auc.name, auc.last, auc.count) == ("epoch · auc", "0.75", 2)
    assert (phase.name, phase.last, phase.count) == ("epoch · phase", "a", 1)


def test_a_table_logged_again_replaces_the_one_before() -> None:
    # given
    points = [a_metric("roc", {"fpr": [0, 1]}), a_metric("roc", {"fpr": [0, 0.5, 1]})]

    # when
    (fpr,) = arrange_series(points)

    # then
    assert (fpr.name, fpr.count) == ("roc · fpr", 3)


def test_a_matrix_is_one_value() -> None:
    # when
    (matrix,) = arrange_series([a_metric("confusion", [[8, 1], [2, 9]])])

    # then
    assert (matrix.last, matrix.count, matrix.line) == ("[[8, 1], [2, 9]]", 1, ())


def test_falling_values_draw_a_line_that_falls() -> None:
    # when
    (loss,) = arrange_series([a_metric("loss", value) for value in (1.0, 0.5, 0.0)])

    # then
    (left, top), _, (right, bottom) = loss.line
    assert left < right
    assert top < bottom


def test_a_spike_among_very_many_values_is_drawn() -> None:
    # given
    values = [0.0] * 50_000
    values[31_415] = 1.0

    # when
    (series,) = arrange_series([a_metric("loss", values)])

    # then
    assert len(series.line) <= 202
    assert min(y for _, y in series.line) == 3


def test_values_that_are_no_numbers_are_counted_and_not_drawn() -> None:
    # given
    values = [1, math.nan, math.inf, True, "x", None, 10**400, 2]

    # when
    (series,) = arrange_series([a_metric("odd", value) for value in values])

    # then
    assert (series.count, len(series.line)) == (8, 2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=20))
def test_whatever_is_logged_can_be_shown(values: list[Any]) -> None:
    # when
    found = arrange_series([a_metric("any", value) for value in values])

    # then
    corners = [point for series in found for point in series.line]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in corners)
    assert all(len(series.last) <= 200 for series in found)


@pytest.mark.parametrize("values", [[1e308, -1e308], [5e-324, 0], [7, 7], [-0.0, 0.0]])
def test_extreme_values_stay_in_the_picture(values: list[float]) -> None:
    # when
    (series,) = arrange_series([a_metric("extreme", values)])

    # then
    assert all(0 <= y <= HEIGHT for _, y in series.line)
