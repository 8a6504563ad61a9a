"""What every run history promises about positions in a log: they never go back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.contracts.history_bench import (
    HistoryContract,
    a_run,
)

if TYPE_CHECKING:
    from airflow_mltrain.runs.history import RunHistory


class LogPositionContract(HistoryContract):
    def test_a_reader_that_never_spoke_stands_at_the_beginning(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id

        # when / then
        assert history.log_position(run_id, "task") == 0

    def test_each_reader_of_a_log_has_its_own_position(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id

        # when
        history.set_log_position(run_id, "task", 10)
        history.set_log_position(run_id, "artifact", 2**40)

        # then
        assert history.log_position(run_id, "task") == 10
        assert history.log_position(run_id, "artifact") == 2**40

    def test_a_log_position_never_goes_back(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        history.set_log_position(run_id, "task", 10)

        # when
        history.set_log_position(run_id, "task", 4)

        # then
        assert history.log_position(run_id, "task") == 10

    def test_of_many_log_positions_at_once_the_furthest_stays(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id

        # when
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: history.set_log_position(run_id, "task", n), range(40)))

        # then
        assert history.log_position(run_id, "task") == 39
