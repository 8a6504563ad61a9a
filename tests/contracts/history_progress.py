"""What every run history promises about progress: news moves a run on, its end is final."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_mltrain.runs.status import RunStatus
from tests.contracts.history_bench import (
    HOSTILE_TEXT,
    NOON,
    HistoryContract,
    a_run,
)

if TYPE_CHECKING:
    from airflow_mltrain.runs.history import RunHistory


TERMINAL = [status for status in RunStatus if status.is_terminal]


class ProgressContract(HistoryContract):
    def test_what_was_observed_of_a_run_is_kept(self, history: RunHistory) -> None:
        # given
        record = history.add(a_run())

        # when
        history.advance(record.run_id, RunStatus.PREPARING, is_started=True)
        history.advance(record.run_id, RunStatus.RUNNING, started_at=NOON)
        ended = history.advance(
            record.run_id,
            RunStatus.FAILED,
            ended_at=NOON + timedelta(minutes=1),
            exit_code=0,
            error=HOSTILE_TEXT,
        )

        # then
        assert ended == history.get(record.run_id)
        assert ended == replace(
            record,
            status=RunStatus.FAILED,
            is_started=True,
            started_at=NOON,
            ended_at=NOON + timedelta(minutes=1),
            exit_code=0,
            error=HOSTILE_TEXT,
        )

    def test_late_news_does_not_move_a_run_back(self, history: RunHistory) -> None:
        # given
        record = history.add(a_run())
        history.advance(record.run_id, RunStatus.RUNNING)

        # when
        after = history.advance(record.run_id, RunStatus.QUEUED, is_started=True)

        # then
        assert after.status is RunStatus.RUNNING
        assert after.is_started

    def test_binary_junk_at_the_end_of_a_log_does_not_hide_the_failure(
        self,
        history: RunHistory,
    ) -> None:
        # given
        record = history.add(a_run())

        # when
        history.advance(record.run_id, RunStatus.FAILED, error="Killed\0\udcff")

        # then
        found = history.get(record.run_id)
        assert found.status is RunStatus.FAILED
        assert found.error is not None
        assert found.error.startswith("Killed")

    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.differing_executors,
            HealthCheck.too_slow,
        ],
    )
    @given(
        before=st.lists(st.sampled_from([s for s in RunStatus if not s.is_terminal]), max_size=3),
        end=st.sampled_from(TERMINAL),
        after=st.lists(st.sampled_from(list(RunStatus)), max_size=5),
    )
    def test_no_news_changes_a_run_that_has_ended(
        self,
        history: RunHistory,
        before: list[RunStatus],
        end: RunStatus,
        after: list[RunStatus],
    ) -> None:
        # given
        run_id = history.add(a_run()).run_id
        for status in before:
            history.advance(run_id, status)
        ended = history.advance(run_id, end, exit_code=7, error="out of memory", ended_at=NOON)

        # when
        later = NOON + timedelta(hours=1)
        news = [
            history.advance(run_id, s, exit_code=0, error="late", started_at=later, ended_at=later)
            for s in after
        ]

        # then
        assert (ended.status, ended.exit_code, ended.error) == (end, 7, "out of memory")
        assert all(run == ended for run in news)
        assert history.get(run_id) == ended

    def test_of_many_ends_reported_at_once_one_is_kept_whole(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        ends = [(status, code) for code, status in enumerate(TERMINAL * 3)]

        # when
        with ThreadPoolExecutor(len(ends)) as pool:
            seen = list(
                pool.map(
                    lambda end: history.advance(
                        run_id,
                        end[0],
                        exit_code=end[1],
                        error=f"{end[0].value} {end[1]}",
                    ),
                    ends,
                ),
            )

        # then
        kept = history.get(run_id)
        assert all(run == kept for run in seen)
        assert (kept.status, kept.exit_code) in ends
        assert kept.error == f"{kept.status.value} {kept.exit_code}"

    def test_tags_and_properties_are_merged(self, history: RunHistory) -> None:
        # given
        record = history.add(a_run(tags={"team": "risk", "kept": "yes"}))

        # when
        annotated = history.annotate(
            record.run_id,
            tags={"team": "growth"},
            properties={"image": "sha256:1"},
        )

        # then
        assert annotated.tags == {"team": "growth", "kept": "yes"}
        assert annotated.properties == {"image": "sha256:1"}
        assert history.get(record.run_id) == annotated

    def test_a_run_can_be_annotated_after_its_end(self, history: RunHistory) -> None:
        # given
        record = history.add(a_run())
        history.advance(record.run_id, RunStatus.COMPLETED)

        # when
        annotated = history.annotate(record.run_id, tags={"best": "yes"})

        # then
        assert annotated.status is RunStatus.COMPLETED
        assert annotated.tags == {"best": "yes"}

    def test_properties_that_come_with_late_news_are_kept(self, history: RunHistory) -> None:
        # given
        record = history.add(a_run(properties={"place": "here"}))
        ended = history.advance(record.run_id, RunStatus.COMPLETED, exit_code=0)

        # when
        told = history.advance(
            record.run_id, RunStatus.PREPARING, exit_code=1, properties={"image": "sha256:1"}
        )

        # then
        assert told == replace(ended, properties={"place": "here", "image": "sha256:1"})
        assert history.get(record.run_id) == told

    def test_annotations_made_at_once_are_all_kept(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        tags = [{f"worker-{number}": "done"} for number in range(8)]

        # when
        with ThreadPoolExecutor(len(tags)) as pool:
            list(pool.map(lambda tag: history.annotate(run_id, tags=tag), tags))

        # then
        assert len(history.get(run_id).tags) == 8
