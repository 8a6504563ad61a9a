"""What every run history promises, whichever database keeps it."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_mltrain.errors import RunHistoryError, RunNotFoundError
from airflow_mltrain.runs.history import RunHistory, open_run_history
from airflow_mltrain.runs.record import MetricRecord, RunRecord, SubmissionKey
from airflow_mltrain.runs.status import RunStatus
from tests.services.processes import run_together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=timezone.utc)
KEY = SubmissionKey("retrain", "scheduled__2026-11-23", "submit", 3)
TERMINAL = [status for status in RunStatus if status.is_terminal]
HOSTILE_TEXT = "quote ' \" % \\ \n :name \u202e \U0001f680"


def a_run(run_id: str | None = None, **facts: Any) -> RunRecord:
    """A run that was just submitted."""
    record = RunRecord(
        run_id=run_id or uuid4().hex,
        experiment="churn",
        target="local",
        snapshot_id="5f2a",
        config={"script": "train.py", "arguments": ["--rate", 0.1]},
        created_at=NOON,
    )
    return replace(record, **facts)


def a_metric(value: object, name: str = "loss", **facts: Any) -> MetricRecord:
    """A value that a script logged."""
    return replace(MetricRecord(name=name, value=value, logged_at=NOON), **facts)


def submit_and_finish(work: tuple[str, int]) -> list[str]:
    """Submit and finish ten runs as a worker process does, beginning with a shared submission."""
    url, worker = work
    with closing(open_run_history(url)) as history:
        records = [
            a_run(f"{worker}-{number}", submission=replace(KEY, map_index=number))
            for number in range(9)
        ]
        records.append(a_run(f"{worker}-own"))
        kept = [history.add(record) for record in records]
        for record in kept:
            history.advance(record.run_id, RunStatus.RUNNING, is_started=True)
            history.add_metrics(record.run_id, [a_metric(worker)], position=0, next_position=9)
            history.set_log_position(record.run_id, "task", worker)
            history.advance(record.run_id, RunStatus.COMPLETED, exit_code=0, ended_at=NOON)
        history.register_environment("shared", {"worker": worker % 2})
        return [record.run_id for record in kept]


class RunHistoryContract:
    """A subclass says where an empty history lies; everything else is the same for all."""

    @pytest.fixture
    def history_url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def history(self, history_url: str) -> Iterator[RunHistory]:
        with closing(open_run_history(history_url)) as history:
            yield history

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
            lambda history: history.add_metrics("no-such-run", [], position=0, next_position=1),
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
        other_key = replace(KEY, map_index=4)
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
            {"submission": replace(KEY, task_id="other")},
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

    def test_one_experiment_can_be_listed(self, history: RunHistory) -> None:
        # given
        history.add(a_run(experiment="churn"))
        fraud = history.add(a_run(experiment="fraud"))

        # when
        listed = history.list_runs("fraud")

        # then
        assert listed == [fraud]

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

    def test_of_many_submissions_at_once_one_run_is_made(self, history: RunHistory) -> None:
        # given
        records = [a_run(submission=KEY) for _ in range(8)]

        # when
        with ThreadPoolExecutor(len(records)) as pool:
            kept = list(pool.map(history.add, records))

        # then
        assert history.list_runs() == [kept[0]]
        assert all(run == kept[0] for run in kept)

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

    def test_annotations_made_at_once_are_all_kept(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        tags = [{f"worker-{number}": "done"} for number in range(8)]

        # when
        with ThreadPoolExecutor(len(tags)) as pool:
            list(pool.map(lambda tag: history.annotate(run_id, tags=tag), tags))

        # then
        assert len(history.get(run_id).tags) == 8

    def test_metrics_come_back_in_the_order_they_were_logged(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        first = [a_metric(n, name="loss" if n % 2 else "accuracy", step=n) for n in range(20)]
        second = [a_metric({"x": [1, 2], "y": None}, name="table", logged_at=NOON)]

        # when
        history.add_metrics(run_id, first, position=0, next_position=900)
        history.add_metrics(run_id, second, position=900, next_position=1000)

        # then
        assert history.get_metrics(run_id) == first + second
        assert history.get_metrics(run_id, "loss") == first[1::2]
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
        history.add_metrics(run_id, [a_metric(value)], position=0, next_position=1)

        # then
        assert repr(history.get_metrics(run_id)[0].value) == repr(value)

    def test_a_loss_that_became_nan_is_kept(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id

        # when
        history.add_metrics(run_id, [a_metric([1.5, math.nan])], position=0, next_position=1)

        # then
        value = history.get_metrics(run_id)[0].value
        assert value[0] == 1.5
        assert math.isnan(value[1])

    def test_steps_may_be_missing_or_beyond_any_column(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        points = [a_metric(1, step=step) for step in (None, 0, -1, 10**40)]

        # when
        history.add_metrics(run_id, points, position=0, next_position=1)

        # then
        assert history.get_metrics(run_id) == points

    def test_metrics_read_twice_are_kept_once(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        points = [a_metric(1), a_metric(2)]
        history.add_metrics(run_id, points, position=0, next_position=100)

        # when
        is_kept = history.add_metrics(run_id, points, position=0, next_position=100)

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
                    lambda n: history.add_metrics(
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
        is_kept = history.add_metrics(run_id, [], position=0, next_position=70)

        # then
        assert is_kept
        assert history.get(run_id).metrics_position == 70

    def test_metrics_that_take_up_no_bytes_are_refused(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id

        # when / then
        with pytest.raises(ValueError, match=r"\[5, 5\)"):
            history.add_metrics(run_id, [a_metric(1)], position=5, next_position=5)

    def test_ten_thousand_metrics_are_kept_in_one_call(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        points = [a_metric(n / 7, step=n) for n in range(10_000)]

        # when
        history.add_metrics(run_id, points, position=0, next_position=500_000)

        # then
        assert history.get_metrics(run_id) == points

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

    def test_environment_versions_count_from_one(self, history: RunHistory) -> None:
        # when
        versions = [
            history.register_environment("torch", {"packages": ["torch==2"]}),
            history.register_environment("torch", {"packages": ["torch==3"]}),
            history.register_environment("other", {}),
        ]

        # then
        assert versions == [1, 2, 1]
        assert history.list_environments() == {"other": 1, "torch": 2}

    def test_an_environment_registered_again_keeps_its_version(self, history: RunHistory) -> None:
        # given
        history.register_environment("torch", {"python": "3.11", "packages": ["torch"]})

        # when
        version = history.register_environment("torch", {"packages": ["torch"], "python": "3.11"})

        # then
        assert version == 1

    def test_going_back_to_an_older_environment_is_a_new_version(
        self,
        history: RunHistory,
    ) -> None:
        # given
        history.register_environment("torch", {"packages": ["torch==2"]})
        history.register_environment("torch", {"packages": ["torch==3"]})

        # when
        version = history.register_environment("torch", {"packages": ["torch==2"]})

        # then
        assert version == 3

    def test_an_environment_is_found_by_name_and_version(self, history: RunHistory) -> None:
        # given
        history.register_environment("torch", {"packages": ["torch==2"]})
        history.register_environment("torch", {"packages": ["torch==3"]})

        # when / then
        assert history.find_environment("torch") == (2, {"packages": ["torch==3"]})
        assert history.find_environment("torch", 1) == (1, {"packages": ["torch==2"]})
        assert history.find_environment("torch", 3) is None
        assert history.find_environment("jax") is None

    def test_environments_registered_at_once_all_get_a_version(self, history: RunHistory) -> None:
        # given
        contents = [{"number": number} for number in range(8)]

        # when
        with ThreadPoolExecutor(len(contents)) as pool:
            versions = list(pool.map(lambda c: history.register_environment("e", c), contents))

        # then
        assert sorted(versions) == [1, 2, 3, 4, 5, 6, 7, 8]
        assert history.find_environment("e", versions[5]) == (versions[5], contents[5])

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

    def test_what_is_not_json_is_refused_and_nothing_is_kept(self, history: RunHistory) -> None:
        # given
        run_id = history.add(a_run()).run_id
        points = [a_metric(1), a_metric(object())]

        # when
        with pytest.raises(RunHistoryError, match="JSON"):
            history.add_metrics(run_id, points, position=0, next_position=10)

        # then
        assert history.get_metrics(run_id) == []
        assert history.get(run_id).metrics_position == 0
