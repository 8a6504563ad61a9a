"""What every run history promises about what environments were resolved to: the first stays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.errors import RunNotFoundError
from airflow_mltrain.runs.status import RunStatus
from tests.contracts.history_bench import NOON, HistoryContract, a_run

if TYPE_CHECKING:
    from airflow_mltrain.runs.history import RunHistory

RECIPE_ID = "c0ffee" * 10 + "beef"
LINUX = "cpython-3.11-linux-x86_64-glibc"
ARM = "cpython-3.11-linux-aarch64-glibc"


def a_resolution(key: str, version: str = "2.2.6", **facts: Any) -> dict[str, Any]:
    """What a target says that it resolved a recipe to."""
    return {
        "key": key,
        "recipe_id": RECIPE_ID,
        "platform": LINUX,
        "python": "3.11.7",
        "packages": [f"numpy=={version} --hash=sha256:00 --hash=sha256:11"],
        "conda": [],
        **facts,
    }


def a_lock(version: str) -> dict[str, list[str]]:
    """What is left of it for the next run."""
    return {"packages": [f"numpy=={version} --hash=sha256:00 --hash=sha256:11"], "conda": []}


class ResolutionContract(HistoryContract):
    def test_what_a_run_was_resolved_to_is_known_to_the_next_run_of_its_recipe(
        self, history: RunHistory
    ) -> None:
        # given
        record = history.add(a_run())

        # when
        kept = history.keep_resolved(record.run_id, a_resolution("k1"))

        # then
        assert kept == history.get(record.run_id) == replace(record, environment_key="k1")
        assert history.find_locks(RECIPE_ID) == {LINUX: a_lock("2.2.6")}

    def test_what_a_run_ran_in_is_found_by_its_key(self, history: RunHistory) -> None:
        # given
        record = history.add(a_run())
        history.keep_resolved(record.run_id, a_resolution("k1", conda=["https://h/a.conda#00"]))

        # when
        found = history.find_resolved("k1")

        # then
        assert found == {
            "key": "k1",
            "platform": LINUX,
            "python": "3.11.7",
            "packages": a_lock("2.2.6")["packages"],
            "conda": ["https://h/a.conda#00"],
        }

    def test_an_unknown_recipe_has_no_locks_and_an_unknown_key_no_environment(
        self, history: RunHistory
    ) -> None:
        # given
        record = history.add(a_run())
        history.keep_resolved(record.run_id, a_resolution("k1"))

        # when / then
        assert history.find_locks("another") == {}
        assert history.find_resolved("k2") is None

    def test_each_platform_has_a_lock_of_its_own(self, history: RunHistory) -> None:
        # given
        history.add(a_run("here"))
        history.add(a_run("there"))

        # when
        history.keep_resolved("here", a_resolution("k1", "2.2.6"))
        history.keep_resolved("there", a_resolution("k2", "2.3.0", platform=ARM))

        # then
        assert history.find_locks(RECIPE_ID) == {LINUX: a_lock("2.2.6"), ARM: a_lock("2.3.0")}

    def test_an_environment_that_two_recipes_come_down_to_is_kept_for_both(
        self, history: RunHistory
    ) -> None:
        # given
        history.add(a_run("one"))
        history.add(a_run("two"))

        # when
        history.keep_resolved("one", a_resolution("k1"))
        history.keep_resolved("two", a_resolution("k1", recipe_id="another"))

        # then
        assert history.find_locks("another") == history.find_locks(RECIPE_ID)

    def test_the_first_resolution_of_a_recipe_stays_and_a_later_run_keeps_its_own(
        self, history: RunHistory
    ) -> None:
        # given
        history.add(a_run("first"))
        history.add(a_run("second"))
        history.keep_resolved("first", a_resolution("k1", "2.2.6"))

        # when
        history.keep_resolved("second", a_resolution("k2", "2.3.0"))

        # then
        assert history.find_locks(RECIPE_ID) == {LINUX: a_lock("2.2.6")}
        assert history.get("second").environment_key == "k2"
        resolved = history.find_resolved("k2")
        assert resolved is not None
        assert resolved["packages"] == a_lock("2.3.0")["packages"]

    def test_the_first_environment_of_a_run_stays(self, history: RunHistory) -> None:
        # given
        history.add(a_run("run"))
        history.keep_resolved("run", a_resolution("k1"))

        # when
        kept = [history.keep_resolved("run", a_resolution(key)) for key in ("k1", "k2")]

        # then
        assert [run.environment_key for run in kept] == ["k1", "k1"]
        assert history.get("run").environment_key == "k1"

    def test_the_environment_of_a_run_that_has_ended_is_still_kept(
        self, history: RunHistory
    ) -> None:
        # given
        history.add(a_run("run"))
        ended = history.advance("run", RunStatus.FAILED, ended_at=NOON, error="exit code 1")

        # when
        history.keep_resolved("run", a_resolution("k1"))

        # then
        assert history.get("run") == replace(ended, environment_key="k1")

    def test_news_of_a_run_leaves_its_environment_as_it_is(self, history: RunHistory) -> None:
        # given
        history.add(a_run("run"))
        history.keep_resolved("run", a_resolution("k1"))

        # when
        history.annotate("run", tags={"a": "b"})
        advanced = history.advance("run", RunStatus.RUNNING, is_started=True)

        # then
        assert advanced.environment_key == "k1"
        assert history.get("run") == advanced

    def test_nothing_is_kept_for_a_run_that_is_unknown(self, history: RunHistory) -> None:
        # when
        with pytest.raises(RunNotFoundError, match="'nobody'"):
            history.keep_resolved("nobody", a_resolution("k1"))

        # then
        assert history.find_resolved("k1") is None
        assert history.find_locks(RECIPE_ID) == {}

    def test_half_a_resolution_keeps_nothing(self, history: RunHistory) -> None:
        # given
        history.add(a_run("run"))
        half = {"key": "k1", "recipe_id": RECIPE_ID}

        # when
        with pytest.raises(KeyError, match="platform"):
            history.keep_resolved("run", half)

        # then
        assert history.find_resolved("k1") is None
        assert history.get("run").environment_key is None

    def test_of_many_who_resolve_a_recipe_at_once_one_decides(self, history: RunHistory) -> None:
        # given
        keys = [f"k{number}" for number in range(8)]
        for key in keys:
            history.add(a_run(f"run of {key}"))

        # when
        with ThreadPoolExecutor(len(keys)) as pool:
            kept = list(
                pool.map(
                    lambda key: history.keep_resolved(f"run of {key}", a_resolution(key, key)),
                    keys,
                )
            )

        # then
        assert [run.environment_key for run in kept] == keys
        assert history.find_locks(RECIPE_ID) in [{LINUX: a_lock(key)} for key in keys]

    def test_of_many_observers_of_one_run_one_says_what_it_runs_in(
        self, history: RunHistory
    ) -> None:
        # given
        history.add(a_run("run"))
        keys = [f"k{number}" for number in range(8)]

        # when
        with ThreadPoolExecutor(len(keys)) as pool:
            kept = list(
                pool.map(lambda key: history.keep_resolved("run", a_resolution(key, key)), keys)
            )

        # then
        [key] = {run.environment_key for run in kept}
        assert key == history.get("run").environment_key
        assert history.find_locks(RECIPE_ID) == {LINUX: a_lock(str(key))}
