"""What every run history promises about sharing: several processes see and write one history."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from airflow_mltrain.runs.history import open_run_history
from airflow_mltrain.runs.status import RunStatus
from tests.contracts.history_bench import (
    KEY,
    NOON,
    HistoryContract,
    a_metric,
    a_run,
    add_metrics,
)
from tests.services.processes import run_together

if TYPE_CHECKING:
    from airflow_mltrain.runs.history import RunHistory


def submit_and_finish(work: tuple[str, int]) -> list[str]:
    """Submit and finish ten runs as a worker process does, beginning with a shared submission."""
    url, worker = work
    with closing(open_run_history(url)) as history:
        records = [
            a_run(f"{worker}-{number}", submission=KEY._replace(map_index=number))
            for number in range(9)
        ]
        records.append(a_run(f"{worker}-own"))
        kept = [history.add(record) for record in records]
        for record in kept:
            history.advance(record.run_id, RunStatus.RUNNING, is_started=True)
            add_metrics(history, record.run_id, [a_metric(worker)], position=0, next_position=9)
            history.set_log_position(record.run_id, "task", worker)
            history.advance(record.run_id, RunStatus.COMPLETED, exit_code=0, ended_at=NOON)
        history.environments.register("shared", {"worker": worker % 2})
        return [record.run_id for record in kept]


class SharingContract(HistoryContract):
    def test_a_run_is_known_to_another_process_at_once(
        self,
        history: RunHistory,
        history_url: str,
    ) -> None:
        # given
        record = history.add(a_run())

        # when
        with closing(open_run_history(history_url)) as other:
            found = other.get(record.run_id)

        # then
        assert found == record

    def test_eight_processes_share_a_fresh_history(self, history_url: str) -> None:
        # when
        kept = run_together(submit_and_finish, [(history_url, worker) for worker in range(8)])

        # then
        with closing(open_run_history(history_url)) as history:
            finished = history.list_runs()
        assert all(run_ids[:9] == kept[0][:9] for run_ids in kept)
        assert len(finished) == 9 + 8
        assert {run.status for run in finished} == {RunStatus.COMPLETED}
        assert {run.metrics_position for run in finished} == {9}

    def test_a_history_works_on_after_it_was_closed(self, history: RunHistory) -> None:
        # given
        record = history.add(a_run())

        # when
        history.close()

        # then
        assert history.get(record.run_id) == record
