"""What every run history promises about submissions: each has one run, found again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.errors import RunHistoryError, RunNotFoundError
from airflow_mltrain.runs.status import RunStatus
from tests.contracts.history_bench import (
    HOSTILE_TEXT,
    KEY,
    NOON,
    HistoryContract,
    a_run,
    add_metrics,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mltrain.runs.history import RunHistory


class SubmissionContract(HistoryContract):
    def test_a_run_comes_back_as_it_was_submitted(self, history: RunHistory) -> None:
        # given
        record = a_run(
            submission=KEY,
            generation=2,
            occasion="cleared by a person",
            config={"arguments": ["", "$HOME", HOSTILE_TEXT, "\0", None, {"z": 1, "a": 2}]},
            tags={HOSTILE_TEXT: HOSTILE_TEXT},
            properties={"git.commit": "abc"},
        )

        # when
        history.add(record)

        # then
        found = history.get(record.run_id)
        assert found == record
        assert list(found.config["arguments"][-1]) == ["z", "a"]

    def test_times_come_back_aware_and_in_utc(self, history: RunHistory) -> None:
        # given
        in_tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
        record = history.add(a_run(created_at=in_tokyo))

        # when
        history.advance(record.run_id, RunStatus.RUNNING, started_at=in_tokyo)
        history.advance(record.run_id, RunStatus.FAILED, ended_at=in_tokyo)

        # then
        found = history.get(record.run_id)
        for instant in (found.created_at, found.started_at, found.ended_at):
            assert instant == NOON
            assert instant is not None
            assert instant.utcoffset() == timedelta(0)

    def test_a_time_without_zone_is_refused(self, history: RunHistory) -> None:
        # given
        record = a_run(created_at=NOON.replace(tzinfo=None))

        # when / then
        with pytest.raises(RunHistoryError, match="time zone"):
            history.add(record)

    def test_an_unknown_run_is_named_with_the_history(self, history: RunHistory) -> None:
        # when
        with pytest.raises(RunNotFoundError) as caught:
            history.get("no-such-run")

        # then
        assert "no-such-run" in str(caught.value)
        assert history.address in str(caught.value)

    @pytest.mark.parametrize(
        "call",
        [
            lambda history: history.advance("no-such-run", RunStatus.RUNNING),
            lambda history: history.annotate("no-such-run", tags={"a": "b"}),
            lambda history: add_metrics(history, "no-such-run", [], position=0, next_position=1),
            lambda history: history.get_metrics("no-such-run"),
            lambda history: history.set_log_position("no-such-run", "task", 1),
        ],
        ids=["advance", "annotate", "add_metrics", "get_metrics", "set_log_position"],
    )
    def test_nothing_is_kept_of_an_unknown_run(
        self, history: RunHistory, call: Callable[[RunHistory], object]
    ) -> None:
        with pytest.raises(RunNotFoundError, match="no-such-run"):
            call(history)

    def test_a_submission_made_again_gives_the_run_it_made_first(
        self,
        history: RunHistory,
    ) -> None:
        # given
        first = history.add(a_run(submission=KEY))

        # when
        second = history.add(a_run(submission=KEY, target="gpu-host"))

        # then
        assert second == first
        assert history.list_runs() == [first]

    def test_a_new_generation_is_a_new_run(self, history: RunHistory) -> None:
        # given
        first = history.add(a_run(submission=KEY))

        # when
        second = history.add(a_run(submission=KEY, generation=2))

        # then
        assert second.run_id != first.run_id
        assert history.find_latest(KEY) == second

    def test_mapped_tasks_have_runs_of_their_own(self, history: RunHistory) -> None:
        # given
        other_key = KEY._replace(map_index=4)
        first = history.add(a_run(submission=KEY))

        # when
        second = history.add(a_run(submission=other_key))

        # then
        assert history.find_latest(KEY) == first
        assert history.find_latest(other_key) == second

    def test_a_submission_never_seen_has_no_latest_run(self, history: RunHistory) -> None:
        assert history.find_latest(KEY) is None

    def test_runs_without_a_submission_are_all_kept(self, history: RunHistory) -> None:
        # when
        records = [history.add(a_run()) for _ in range(3)]

        # then
        assert {run.run_id for run in history.list_runs()} == {run.run_id for run in records}

    def test_adding_the_same_run_again_changes_nothing(self, history: RunHistory) -> None:
        # given
        record = history.add(a_run())
        advanced = history.advance(record.run_id, RunStatus.RUNNING)

        # when
        again = history.add(record)

        # then
        assert again == advanced

    @pytest.mark.parametrize(
        "other",
        [
            {"submission": KEY._replace(task_id="other")},
            {"submission": KEY, "generation": 2},
            {"submission": None},
        ],
        ids=["another task", "another generation", "no task"],
    )
    def test_a_run_id_of_another_submission_is_refused(
        self,
        history: RunHistory,
        other: dict[str, Any],
    ) -> None:
        # given
        record = history.add(a_run("taken", submission=KEY))

        # when / then
        with pytest.raises(RunHistoryError, match="taken"):
            history.add(replace(record, **other))

    def test_runs_are_listed_newest_first(self, history: RunHistory) -> None:
        # given
        for hour in (2, 3, 1):
            history.add(a_run(f"hour-{hour}", created_at=NOON + timedelta(hours=hour)))

        # when
        listed = history.list_runs(limit=2)

        # then
        assert [run.run_id for run in listed] == ["hour-3", "hour-2"]

    def test_children_are_listed_on_request(self, history: RunHistory) -> None:
        # given
        history.add(a_run("done", status=RunStatus.COMPLETED))
        history.add(a_run("bad", status=RunStatus.FAILED))
        history.add(a_run("bad_1", status=RunStatus.FAILED, parent_run_id="bad"))

        # when
        failed = history.list_runs(statuses=[RunStatus.FAILED])
        with_children = history.list_runs(statuses=[RunStatus.FAILED], include_children=True)

        # then
        assert [run.run_id for run in failed] == ["bad"]
        assert [run.run_id for run in with_children] == ["bad_1", "bad"]

    def test_one_experiment_can_be_listed(self, history: RunHistory) -> None:
        # given
        history.add(a_run(experiment="churn"))
        fraud = history.add(a_run(experiment="fraud"))

        # when
        listed = history.list_runs("fraud")

        # then
        assert listed == [fraud]

    def test_runs_are_listed_by_status_and_tags_in_pages(self, history: RunHistory) -> None:
        # given
        tags = {"team": HOSTILE_TEXT, "x%_": "\0"}
        for number in range(6):
            status = RunStatus.FAILED if number % 2 else RunStatus.COMPLETED
            history.add(a_run(f"run-{number}", status=status, tags=tags))
        history.add(a_run("untagged", status=RunStatus.FAILED, tags={"team": "other"}))
        history.add(a_run("a-child", status=RunStatus.FAILED, tags=tags, parent_run_id="run-0"))

        # when
        first = history.list_runs(limit=2, statuses=[RunStatus.FAILED], tags=tags)
        then = history.list_runs(
            limit=2, statuses=[RunStatus.FAILED], tags={"team": None}, before="run-3"
        )

        # then
        assert [run.run_id for run in first] == ["run-5", "run-3"]
        assert [run.run_id for run in then] == ["run-1"]

    def test_a_page_behind_an_unknown_run_is_refused(self, history: RunHistory) -> None:
        with pytest.raises(RunNotFoundError, match="nobody"):
            history.list_runs(before="nobody")

    def test_of_many_submissions_at_once_one_run_is_made(self, history: RunHistory) -> None:
        # given
        records = [a_run(submission=KEY) for _ in range(8)]

        # when
        with ThreadPoolExecutor(len(records)) as pool:
            kept = list(pool.map(history.add, records))

        # then
        assert history.list_runs() == [kept[0]]
        assert all(run == kept[0] for run in kept)
