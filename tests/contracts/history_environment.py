"""What every run history promises about environments: equal content is one version."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.contracts.history_bench import (
    HistoryContract,
)

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
