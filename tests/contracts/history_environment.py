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
            history.environments.register("torch", {"packages": ["torch==2"]}),
            history.environments.register("torch", {"packages": ["torch==3"]}),
            history.environments.register("other", {}),
        ]

        # then
        assert versions == [1, 2, 1]
        assert history.environments.list_latest() == {"other": 1, "torch": 2}

    def test_an_environment_registered_again_keeps_its_version(self, history: RunHistory) -> None:
        # given
        history.environments.register("torch", {"python": "3.11", "packages": ["torch"]})

        # when
        version = history.environments.register("torch", {"packages": ["torch"], "python": "3.11"})

        # then
        assert version == 1

    def test_going_back_to_an_older_environment_is_a_new_version(
        self,
        history: RunHistory,
    ) -> None:
        # given
        history.environments.register("torch", {"packages": ["torch==2"]})
        history.environments.register("torch", {"packages": ["torch==3"]})

        # when
        version = history.environments.register("torch", {"packages": ["torch==2"]})

        # then
        assert version == 3

    def test_an_environment_is_found_by_name_and_version(self, history: RunHistory) -> None:
        # given
        history.environments.register("torch", {"packages": ["torch==2"]})
        history.environments.register("torch", {"packages": ["torch==3"]})

        # when / then
        assert history.environments.find("torch") == (2, {"packages": ["torch==3"]})
        assert history.environments.find("torch", 1) == (1, {"packages": ["torch==2"]})
        assert history.environments.find("torch", 3) is None
        assert history.environments.find("jax") is None

    def test_environments_registered_at_once_all_get_a_version(self, history: RunHistory) -> None:
        # given
        contents = [{"number": number} for number in range(8)]

        # when
        with ThreadPoolExecutor(len(contents)) as pool:
            versions = list(pool.map(lambda c: history.environments.register("e", c), contents))

        # then
        assert sorted(versions) == [1, 2, 3, 4, 5, 6, 7, 8]
        assert history.environments.find("e", versions[5]) == (versions[5], contents[5])

    def test_every_environment_comes_with_the_content_of_its_latest_version(
        self, history: RunHistory
    ) -> None:
        # given
        history.environments.register("torch", {"packages": ["torch==2"]})
        history.environments.register("torch", {"packages": ["torch==3"]})
        history.environments.register("jax", {})

        # when
        found = history.environments.read_latest()

        # then
        assert found == {"jax": (1, {}), "torch": (2, {"packages": ["torch==3"]})}

    def test_an_environment_is_found_by_its_label(self, history: RunHistory) -> None:
        # given
        history.environments.register("torch", {"packages": ["torch==2"]})
        history.environments.register("torch", {"packages": ["torch==3"]})
        history.environments.register("jax", {})

        # when
        is_labelled = history.environments.label("torch", 1, HOSTILE_TEXT)

        # then
        assert is_labelled
        assert history.environments.find("torch", label=HOSTILE_TEXT) == (
            1,
            {"packages": ["torch==2"]},
        )
        assert history.environments.find("torch", label="other") is None
        assert history.environments.find("jax", label=HOSTILE_TEXT) is None

    def test_a_label_moves_to_another_version(self, history: RunHistory) -> None:
        # given
        history.environments.register("torch", {"packages": ["torch==2"]})
        history.environments.register("torch", {"packages": ["torch==3"]})
        history.environments.label("torch", 1, "production")
        history.environments.label("torch", 1, "proven")

        # when
        history.environments.label("torch", 2, "production")
        history.environments.label("torch", 2, "production")

        # then
        assert history.environments.list_versions("torch") == {1: ["proven"], 2: ["production"]}

    def test_environments_of_different_names_have_labels_of_their_own(
        self, history: RunHistory
    ) -> None:
        # given
        history.environments.register("torch", {})
        history.environments.register("jax", {"packages": ["jax"]})

        # when
        history.environments.label("torch", 1, "production")
        history.environments.label("jax", 1, "production")

        # then
        assert history.environments.find("torch", label="production") == (1, {})
        assert history.environments.find("jax", label="production") == (1, {"packages": ["jax"]})

    def test_a_version_that_does_not_exist_gets_no_label(self, history: RunHistory) -> None:
        # given
        history.environments.register("torch", {})
        history.environments.label("torch", 1, "production")

        # when
        is_labelled = history.environments.label("torch", 2, "production")

        # then
        assert not is_labelled
        assert history.environments.list_versions("torch") == {1: ["production"]}

    def test_an_unknown_environment_has_no_versions(self, history: RunHistory) -> None:
        # when / then
        assert history.environments.list_versions("torch") == {}

    def test_a_label_that_many_set_at_once_means_the_version_of_one(
        self, history: RunHistory
    ) -> None:
        # given
        versions = [history.environments.register("e", {"number": number}) for number in range(8)]

        # when
        with ThreadPoolExecutor(len(versions)) as pool:
            done = list(pool.map(lambda v: history.environments.label("e", v, "best"), versions))

        # then
        labelled = [v for v, labels in history.environments.list_versions("e").items() if labels]
        assert done == [True] * 8
        assert len(labelled) == 1
