"""What every run history promises about environments: their versions and labels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.contracts.history_bench import HOSTILE_TEXT, HistoryContract

if TYPE_CHECKING:
    from airflow_mltrain.runs.history import RunHistory


class EnvironmentContract(HistoryContract):
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

    def test_every_environment_comes_with_the_content_of_its_latest_version(
        self, history: RunHistory
    ) -> None:
        # given
        history.register_environment("torch", {"packages": ["torch==2"]})
        history.register_environment("torch", {"packages": ["torch==3"]})
        history.register_environment("jax", {})

        # when
        found = history.read_environments()

        # then
        assert found == {"jax": (1, {}), "torch": (2, {"packages": ["torch==3"]})}

    def test_an_environment_is_found_by_its_label(self, history: RunHistory) -> None:
        # given
        history.register_environment("torch", {"packages": ["torch==2"]})
        history.register_environment("torch", {"packages": ["torch==3"]})
        history.register_environment("jax", {})

        # when
        is_labelled = history.label_environment("torch", 1, HOSTILE_TEXT)

        # then
        assert is_labelled
        assert history.find_environment("torch", label=HOSTILE_TEXT) == (
            1,
            {"packages": ["torch==2"]},
        )
        assert history.find_environment("torch", label="other") is None
        assert history.find_environment("jax", label=HOSTILE_TEXT) is None

    def test_a_label_moves_to_another_version(self, history: RunHistory) -> None:
        # given
        history.register_environment("torch", {"packages": ["torch==2"]})
        history.register_environment("torch", {"packages": ["torch==3"]})
        history.label_environment("torch", 1, "production")
        history.label_environment("torch", 1, "proven")

        # when
        history.label_environment("torch", 2, "production")
        history.label_environment("torch", 2, "production")

        # then
        assert history.list_environment_versions("torch") == {1: ["proven"], 2: ["production"]}

    def test_environments_of_different_names_have_labels_of_their_own(
        self, history: RunHistory
    ) -> None:
        # given
        history.register_environment("torch", {})
        history.register_environment("jax", {"packages": ["jax"]})

        # when
        history.label_environment("torch", 1, "production")
        history.label_environment("jax", 1, "production")

        # then
        assert history.find_environment("torch", label="production") == (1, {})
        assert history.find_environment("jax", label="production") == (1, {"packages": ["jax"]})

    def test_a_version_that_does_not_exist_gets_no_label(self, history: RunHistory) -> None:
        # given
        history.register_environment("torch", {})
        history.label_environment("torch", 1, "production")

        # when
        is_labelled = history.label_environment("torch", 2, "production")

        # then
        assert not is_labelled
        assert history.list_environment_versions("torch") == {1: ["production"]}

    def test_an_unknown_environment_has_no_versions(self, history: RunHistory) -> None:
        # when / then
        assert history.list_environment_versions("torch") == {}

    def test_a_label_that_many_set_at_once_means_the_version_of_one(
        self, history: RunHistory
    ) -> None:
        # given
        versions = [history.register_environment("e", {"number": number}) for number in range(8)]

        # when
        with ThreadPoolExecutor(len(versions)) as pool:
            done = list(pool.map(lambda v: history.label_environment("e", v, "best"), versions))

        # then
        labelled = [v for v, labels in history.list_environment_versions("e").items() if labels]
        assert done == [True] * 8
        assert len(labelled) == 1
