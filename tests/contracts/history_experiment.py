"""What every run history promises about experiments: their list, archive and tags."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.contracts.history_bench import HOSTILE_TEXT, NOON, HistoryContract, a_run

if TYPE_CHECKING:
    from airflow_mltrain.runs.history import RunHistory


class ExperimentContract(HistoryContract):
    def test_experiments_are_those_that_have_a_run(self, history: RunHistory) -> None:
        # given
        for number, name in enumerate(["fraud", "churn", HOSTILE_TEXT, "churn"]):
            history.add(a_run(experiment=name, created_at=NOON + timedelta(hours=number)))
        history.experiments.tag("never submitted to", {"a": "b"})

        # when
        listed = history.experiments.list()

        # then
        assert {one.name: one.newest_run_at for one in listed} == {
            "churn": NOON + timedelta(hours=3),
            "fraud": NOON,
            HOSTILE_TEXT: NOON + timedelta(hours=2),
        }
        assert history.experiments.list("never heard of") == []

    def test_an_archived_experiment_is_active_again_with_its_next_run(
        self, history: RunHistory
    ) -> None:
        # given
        history.add(a_run(experiment="churn"))
        history.experiments.tag("churn", {"team": "growth"})

        # when
        history.experiments.archive("churn", NOON + timedelta(hours=1))
        [archived] = history.experiments.list("churn")
        history.add(a_run(experiment="churn", created_at=NOON + timedelta(hours=2)))
        [again] = history.experiments.list("churn")

        # then
        assert archived.archived_at == NOON + timedelta(hours=1)
        assert again.archived_at is None
        assert archived.tags == again.tags == {"team": "growth"}

    def test_an_archived_experiment_stays_so_when_a_script_begins_a_child(
        self, history: RunHistory
    ) -> None:
        # given
        history.add(a_run("p", experiment="churn"))
        history.experiments.archive("churn", NOON + timedelta(hours=1))

        # when
        later = NOON + timedelta(hours=2)
        history.add(a_run("p_fold", experiment="churn", parent_run_id="p", created_at=later))

        # then
        [churn] = history.experiments.list("churn")
        assert (churn.archived_at, churn.newest_run_at) == (NOON + timedelta(hours=1), NOON)

    def test_an_archived_experiment_can_be_taken_out_again(self, history: RunHistory) -> None:
        # given
        history.add(a_run(experiment="churn"))
        history.experiments.archive("churn", NOON + timedelta(hours=1))

        # when
        history.experiments.archive("churn", None)

        # then
        [again] = history.experiments.list("churn")
        assert again.archived_at is None

    def test_tags_of_an_experiment_that_are_set_at_once_are_all_kept(
        self, history: RunHistory
    ) -> None:
        # given
        history.add(a_run(experiment="churn"))
        history.experiments.tag("churn", {"gone": "1"})

        # when
        with ThreadPoolExecutor(8) as pool:
            tags = [{f"tag {number}": HOSTILE_TEXT} for number in range(8)]
            list(pool.map(lambda one: history.experiments.tag("churn", one), tags))
        history.experiments.tag("churn", {"gone": None})

        # then
        [churn] = history.experiments.list("churn")
        assert churn.tags == {f"tag {number}": HOSTILE_TEXT for number in range(8)}

    def test_tags_of_a_run_are_removed_and_its_name_is_set(self, history: RunHistory) -> None:
        # given
        history.add(a_run("p", tags={"gone": "1", "kept": "2"}))

        # when
        history.annotate("p", tags={"gone": None, "never there": None}, display_name="first try")

        # then
        assert (history.get("p").tags, history.get("p").display_name) == (
            {"kept": "2"},
            "first try",
        )
