"""What every run history promises about metrics: every value exact, in order, once."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.errors import RunHistoryError
from tests.contracts.history_bench import (
    HOSTILE_TEXT,
    NOON,
    HistoryContract,
    a_metric,
    a_run,
    add_metrics,
)

if TYPE_CHECKING:
    from airflow_mltrain.runs.history import RunHistory


class MetricsContract(HistoryContract):
    def test_metrics_come_back_in_the_order_they_were_logged(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        first = [a_metric(n, name="loss" if n % 2 else "accuracy", step=n) for n in range(20)]
        second = [a_metric({"x": [1, 2], "y": None}, name="table", logged_at=NOON)]

        # when
        add_metrics(history, run_id, first, position=0, next_position=900)
        add_metrics(history, run_id, second, position=900, next_position=1000)

        # then
        assert history.get_metrics(run_id) == first + second
        assert history.get_metrics(run_id, "loss") == first[1::2]
        values = [(point.name, point.value, point.kind) for point in first + second]
        assert history.get_metric_values(run_id) == values
        assert history.get(run_id).metrics_position == 1000

    def test_a_run_that_logged_nothing_has_no_metrics(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id

        # when / then
        assert history.get_metrics(run_id) == []

    @pytest.mark.parametrize(
        "value",
        [
            math.inf,
            -math.inf,
            5e-324,
            0.1 + 0.2,
            -0.0,
            10**300,
            True,
            None,
            "",
            HOSTILE_TEXT,
            "\0",
        ],
        ids=repr,
    )
    def test_a_metric_keeps_its_exact_value(self, history: RunHistory, value: object) -> None:
        # given
        run_id = history.add(a_run()).run_id

        # when
        add_metrics(history, run_id, [a_metric(value)], position=0, next_position=1)

        # then
        assert repr(history.get_metrics(run_id)[0].value) == repr(value)
        assert repr(history.get_metric_values(run_id)[0].value) == repr(value)

    def test_a_loss_that_became_nan_is_kept(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id

        # when
        add_metrics(history, run_id, [a_metric([1.5, math.nan])], position=0, next_position=1)

        # then
        value = history.get_metrics(run_id)[0].value
        assert value[0] == 1.5
        assert math.isnan(value[1])

    def test_steps_may_be_missing_or_beyond_any_column(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        points = [a_metric(1, step=step) for step in (None, 0, -1, 10**40)]

        # when
        add_metrics(history, run_id, points, position=0, next_position=1)

        # then
        assert history.get_metrics(run_id) == points

    def test_metrics_read_twice_are_kept_once(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        points = [a_metric(1), a_metric(2)]
        add_metrics(history, run_id, points, position=0, next_position=100)

        # when
        is_kept = add_metrics(history, run_id, points, position=0, next_position=100)

        # then
        assert not is_kept
        assert history.get_metrics(run_id) == points

    def test_of_many_readers_at_once_one_keeps_the_metrics(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id

        # when
        with ThreadPoolExecutor(8) as pool:
            kept = list(
                pool.map(
                    lambda n: add_metrics(
                        history,
                        run_id,
                        [a_metric(n)] * 3,
                        position=0,
                        next_position=50,
                    ),
                    range(8),
                ),
            )

        # then
        assert kept.count(True) == 1
        assert [point.value for point in history.get_metrics(run_id)] == [kept.index(True)] * 3

    def test_lines_without_metrics_only_move_the_position(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id

        # when
        is_kept = add_metrics(history, run_id, [], position=0, next_position=70)

        # then
        assert is_kept
        assert history.get(run_id).metrics_position == 70

    def test_metrics_that_take_up_no_bytes_are_refused(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id

        # when / then
        with pytest.raises(ValueError, match=r"\[5, 5\)"):
            add_metrics(history, run_id, [a_metric(1)], position=5, next_position=5)

    def test_ten_thousand_metrics_are_kept_in_one_call(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        points = [a_metric(n / 7, step=n) for n in range(10_000)]

        # when
        add_metrics(history, run_id, points, position=0, next_position=500_000)

        # then
        assert history.get_metrics(run_id) == points

    def test_what_is_not_json_is_refused_and_nothing_is_kept(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        points = [a_metric(1), a_metric(object())]

        # when
        with pytest.raises(RunHistoryError, match="JSON"):
            add_metrics(history, run_id, points, position=0, next_position=10)

        # then
        assert history.get_metrics(run_id) == []
        assert history.get(run_id).metrics_position == 0
