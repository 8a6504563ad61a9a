"""What every run history promises about what scripts say: children, tags, models, ends."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.runs.metric_line import parse_metric_lines
from airflow_mltrain.runs.status import RunStatus
from tests.contracts.history_bench import HOSTILE_TEXT, NOON, HistoryContract, a_metric, a_run

if TYPE_CHECKING:
    from airflow_mltrain.runs.history import RunHistory


def say(history: RunHistory, run_id: str, *messages: dict[str, Any]) -> bool:
    """Have the history take in lines of a script, behind those it has."""
    lines = [json.dumps({"time": NOON.timestamp(), **message}) + "\n" for message in messages]
    told = parse_metric_lines("".join(lines).encode(), is_complete=False)
    position = history.get(run_id).metrics_position
    return history.take_in(
        run_id, told.runs, position=position, next_position=position + told.length
    )


def child(run_id: str, parent: str, **facts: Any) -> dict[str, Any]:
    return {"type": "child", "name": "fold", "run": run_id, "value": {"parent": parent, **facts}}


def end(run_id: str, status: str, reason: str = "") -> dict[str, Any]:
    return {"type": "status", "name": status, "value": reason, "run": run_id}


class ScriptContract(HistoryContract):
    def test_a_child_is_a_run_with_metrics_tags_and_an_end(self, history: RunHistory) -> None:
        # given
        parent = history.add(a_run("p", environment_key="k"))

        # when
        say(
            history,
            "p",
            child("p_a", "p"),
            {"type": "metric", "name": "loss", "value": 0.5, "run": "p_a", "step": 2},
            {"type": "tag", "name": "k", "value": "1", "run": "p_a"},
            {"type": "metric", "name": "loss", "value": 0.75},
            end("p_a", "Failed", "too good"),
        )

        # then
        found = history.get("p_a")
        assert (found.status, found.error, found.ended_at) == (RunStatus.FAILED, "too good", NOON)
        assert (found.parent_run_id, found.display_name) == ("p", "fold")
        assert (found.experiment, found.snapshot_id, found.tags, found.started_at) == (
            parent.experiment,
            parent.snapshot_id,
            {"k": "1"},
            NOON,
        )
        assert history.get_metrics("p_a") == [a_metric(0.5, step=2)]
        assert history.get_metrics("p") == [a_metric(0.75)]
        assert history.list_children("p") == [found]
        assert history.find_submitted("p_a").run_id == "p"

    def test_children_are_no_submissions(self, history: RunHistory) -> None:
        # given
        history.add(a_run("p"))
        history.add(a_run("later", created_at=NOON + timedelta(seconds=1)))

        # when
        say(history, "p", child("p_a", "p"), child("p_a_b", "p_a"))

        # then
        assert [run.run_id for run in history.list_runs()] == ["later", "p"]
        assert [history.number_of(history.get(name)) for name in ("p", "later")] == [1, 2]
        assert history.find_submitted("p_a_b").run_id == "p"

    def test_the_same_lines_twice_are_kept_once(self, history: RunHistory) -> None:
        # given
        history.add(a_run("p"))
        lines = json.dumps(child("p_a", "p")) + "\n"
        told = parse_metric_lines(lines.encode(), is_complete=False)
        history.take_in("p", told.runs, position=0, next_position=told.length)

        # when
        again = history.take_in("p", told.runs, position=0, next_position=told.length)

        # then
        assert not again
        assert len(history.list_children("p")) == 1

    def test_tags_are_set_changed_and_removed_in_order(self, history: RunHistory) -> None:
        # given
        history.add(a_run("p", tags={"team": "growth", "stage": "0"}))

        # when
        say(
            history,
            "p",
            {"type": "tag", "name": "stage", "value": "1"},
            {"type": "tag", "name": "gone", "value": "x"},
            {"type": "untag", "name": "gone", "value": None},
            {"type": "tag", "name": HOSTILE_TEXT, "value": HOSTILE_TEXT},
        )
        say(history, "p", {"type": "untag", "name": "team", "value": None})

        # then
        assert history.get("p").tags == {"stage": "1", HOSTILE_TEXT: HOSTILE_TEXT}

    def test_models_and_a_display_name_are_kept(self, history: RunHistory) -> None:
        # given
        history.add(a_run("p"))
        facts = {"path": "outputs/m.pkl", "tags": {"a": "b"}}

        # when
        say(
            history,
            "p",
            {"type": "model", "name": "churn", "value": facts},
            {"type": "display_name", "name": HOSTILE_TEXT, "value": None},
            {"type": "model", "name": "no path", "value": {}},
        )

        # then
        [model] = history.get_models("p")
        assert (model.name, model.facts, model.registered_at) == ("churn", facts, NOON)
        assert history.get("p").display_name == HOSTILE_TEXT

    def test_what_a_metric_was_logged_as_is_kept(self, history: RunHistory) -> None:
        # given
        history.add(a_run("p"))
        metric = {"type": "metric", "name": "loss", "value": [1]}

        # when
        say(history, "p", {**metric, "kind": "list"}, {**metric, "kind": "surprise"})

        # then
        assert [point.kind for point in history.get_metrics("p")] == ["list", None]

    @pytest.mark.parametrize(
        "foreign",
        [
            child("other", "p"),
            child("other_a", "other"),
            child("p_a", "other"),
            child("p_a_b", "p_a"),
            child("p_\n", "p"),
            {"type": "tag", "name": "k", "value": "1", "run": "other"},
            {"type": "metric", "name": "loss", "value": 1, "run": "p_never"},
            {"type": "status", "name": "Failed", "value": "", "run": "other"},
            {"type": "status", "name": "Completed", "value": ""},
            {"type": "metric", "name": "loss", "value": 1, "run": 3},
        ],
        ids=str,
    )
    def test_a_script_speaks_for_its_own_run_and_children_only(
        self, history: RunHistory, foreign: dict[str, Any]
    ) -> None:
        # given
        history.add(a_run("p"))
        other = history.add(a_run("other"))

        # when
        is_taken_in = say(history, "p", foreign, {"type": "metric", "name": "loss", "value": 2})

        # then
        assert is_taken_in
        assert history.get("other") == other
        assert history.get_metrics("other") == []
        assert history.list_children("p") == history.list_children("other") == []
        assert [point.value for point in history.get_metrics("p")] == [2]
        assert history.get("p").status is RunStatus.NOT_STARTED

    def test_a_script_may_ask_for_its_own_cancellation(self, history: RunHistory) -> None:
        # given
        history.add(a_run("p"))
        asked = {"type": "status", "name": "CancelRequested", "value": ""}

        # when
        say(history, "p", {"type": "status", "name": "Completed", "value": ""}, asked)

        # then
        assert history.get("p").status is RunStatus.CANCEL_REQUESTED

    def test_of_a_property_the_first_value_stays_and_of_a_fact_the_last(
        self, history: RunHistory
    ) -> None:
        # given
        history.add(a_run("p", properties={"place": "here"}))

        # when
        for value in ("first", "second"):
            for what in ("property", "fact"):
                say(history, "p", {"type": what, "name": f"a {what}", "value": value})
        say(history, "p", {"type": "property", "name": "place", "value": "elsewhere"})

        # then
        assert history.get("p").properties == {
            "place": "here",
            "a property": "first",
            "a fact": "second",
        }

    @pytest.mark.parametrize(
        ("status", "of_process", "of_plain"),
        [
            (RunStatus.COMPLETED, RunStatus.CANCELED, RunStatus.COMPLETED),
            (RunStatus.FAILED, RunStatus.FAILED, RunStatus.FAILED),
            (RunStatus.CANCELED, RunStatus.CANCELED, RunStatus.CANCELED),
        ],
    )
    def test_children_without_an_end_end_with_their_parent(
        self,
        history: RunHistory,
        status: RunStatus,
        of_process: RunStatus,
        of_plain: RunStatus,
    ) -> None:
        # given
        history.add(a_run("p"))
        say(history, "p", child("p_plain", "p"), child("p_plain_deep", "p_plain"))
        say(history, "p", child("p_process", "p", config={"script": "child.py"}))
        say(history, "p", child("p_ended", "p"), end("p_ended", "Completed"))

        # when
        history.advance("p", status, error="exit code 1", ended_at=NOON)

        # then
        ids = ("p_plain", "p_plain_deep", "p_process", "p_ended")
        found = {run_id: history.get(run_id) for run_id in ids}
        assert found["p_plain"].status is found["p_plain_deep"].status is of_plain
        assert found["p_process"].status is of_process
        assert found["p_process"].config["script"] == "child.py"
        assert found["p_ended"].status is RunStatus.COMPLETED
        assert found["p_plain"].ended_at == NOON

    def test_what_is_said_of_an_ended_child_changes_its_end_no_more(
        self, history: RunHistory
    ) -> None:
        # given
        history.add(a_run("p"))
        say(history, "p", child("p_a", "p"), end("p_a", "Completed"))

        # when
        say(history, "p", end("p_a", "Failed", "late"))

        # then
        assert history.get("p_a").status is RunStatus.COMPLETED
