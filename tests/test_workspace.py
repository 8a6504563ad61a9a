"""A workspace as the registry of environments: names, versions, labels, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.environments.curated import CURATED_NAMES
from airflow_mltrain.environments.plan import collect_credentials
from airflow_mltrain.errors import ArtifactError, ConfigurationError
from airflow_mltrain.hooks.environment import EnvironmentHook
from airflow_mltrain.workspace import Workspace

if TYPE_CHECKING:
    from airflow_mltrain.settings import Settings


def an_environment(name: str = "sklearn", *packages: str) -> Environment:
    return Environment(name, python={"packages": list(packages or ["scikit-learn==1.7.2"])})


def register_three_versions(workspace: Workspace, name: str = "sklearn") -> None:
    for version in ("1.5.0", "1.6.0", "1.7.2"):
        workspace.register_environment(an_environment(name, f"scikit-learn=={version}"))


class TestLookingUp:
    def test_a_name_alone_means_the_newest_version(self, workspace: Workspace) -> None:
        # given
        register_three_versions(workspace)

        # when
        environment = workspace.get_environment("sklearn")

        # then
        assert environment.version == "3"
        assert environment.python.packages == ["scikit-learn==1.7.2"]

    @pytest.mark.parametrize("version", [2, "2"])
    def test_a_version_is_given_apart_or_with_the_name(
        self, workspace: Workspace, version: int | str
    ) -> None:
        # given
        register_three_versions(workspace)

        # when
        apart = workspace.get_environment("sklearn", version)
        together = workspace.get_environment(f"sklearn:{version}")

        # then
        assert apart == together
        assert apart.version == "2"
        assert apart.python.packages == ["scikit-learn==1.6.0"]

    def test_a_label_is_given_apart_or_with_the_name(self, workspace: Workspace) -> None:
        # given
        register_three_versions(workspace)
        workspace.label_environment("sklearn", 2, ["production"])

        # when
        apart = workspace.get_environment("sklearn", label="production")
        together = workspace.get_environment("sklearn@production")

        # then
        assert apart == together
        assert apart.version == "2"

    @pytest.mark.parametrize("name", ["sklearn", "MLTrain-Minimal"])
    def test_the_label_latest_means_the_newest_version(
        self, workspace: Workspace, name: str
    ) -> None:
        # given
        register_three_versions(workspace)

        # when
        environment = workspace.get_environment(f"{name}@latest")

        # then
        assert environment == workspace.get_environment(name)

    def test_a_curated_environment_is_there_without_being_registered(
        self, workspace: Workspace
    ) -> None:
        # when
        environment = workspace.get_environment("MLTrain-Scikit-Learn")

        # then
        assert environment == workspace.get_environment("MLTrain-Scikit-Learn:1")
        assert environment.version == "1"

    @pytest.mark.parametrize("reference", ["MLTrain-Minimal:9000", "MLTrain-Minimal@production"])
    def test_a_curated_environment_in_a_version_it_does_not_have_is_refused(
        self, workspace: Workspace, reference: str
    ) -> None:
        # when / then
        with pytest.raises(ConfigurationError, match="'MLTrain-Minimal' has no") as caught:
            workspace.get_environment(reference)
        assert "its newest version is 1," in str(caught.value)

    def test_an_unknown_name_is_answered_with_what_there_is_the_nearest_first(
        self, workspace: Workspace
    ) -> None:
        # given
        workspace.register_environment(an_environment("churn"))
        workspace.register_environment(an_environment("sklearn"))

        # when
        with pytest.raises(ConfigurationError) as caught:
            workspace.get_environment("SKLaern")

        # then
        assert "'SKLaern'; did you mean 'sklearn'? There are: sklearn, " in str(caught.value)
        assert "MLTrain-Minimal" in str(caught.value)
        assert "churn" in str(caught.value)

    def test_of_very_many_environments_only_some_are_named(self, workspace: Workspace) -> None:
        # given
        for number in range(30):
            workspace.history.environments.register(f"e{number}", {"name": f"e{number}"})

        # when / then
        more = 30 + len(CURATED_NAMES) - 20
        with pytest.raises(ConfigurationError, match=f"and {more} more$"):
            workspace.get_environment("nothing-like-it")

    def test_a_name_of_azure_ml_is_answered_with_ours(self, workspace: Workspace) -> None:
        # when / then
        with pytest.raises(ConfigurationError, match="did you mean 'MLTrain-Minimal'"):
            workspace.get_environment("AzureML-Minimal")

    @pytest.mark.parametrize(
        ("reference", "missing"),
        [("sklearn:4", "no version 4"), ("sklearn@staging", "no label 'staging'")],
    )
    def test_an_unknown_version_or_label_is_answered_with_those_there_are(
        self, workspace: Workspace, reference: str, missing: str
    ) -> None:
        # given
        register_three_versions(workspace)
        workspace.label_environment("sklearn", 2, ["production"])

        # when
        with pytest.raises(ConfigurationError, match=missing) as caught:
            workspace.get_environment(reference)

        # then
        assert "its newest version is 3" in str(caught.value)
        assert "'production' (version 2)" in str(caught.value)

    def test_what_this_version_of_the_package_cannot_read_is_named(
        self, workspace: Workspace
    ) -> None:
        # given
        workspace.history.environments.register("odd", {"name": "odd", "cobol": {}})

        # when / then
        with pytest.raises(ConfigurationError, match=r"'odd:1' cannot be used.*\n.*cobol"):
            workspace.get_environment("odd")

    @pytest.mark.parametrize(("name", "label"), [(5, None), (None, None), ("sklearn", 5)])
    def test_what_is_no_text_is_refused(
        self, workspace: Workspace, name: str, label: str | None
    ) -> None:
        # when / then
        with pytest.raises(ConfigurationError, match="should be text"):
            Environment.get(workspace, name, label=label)

    def test_one_that_cannot_be_read_is_left_out_of_the_list_and_logged(
        self, workspace: Workspace, caplog: pytest.LogCaptureFixture
    ) -> None:
        # given
        workspace.register_environment(an_environment("churn"))
        workspace.history.environments.register("odd", {"name": "odd", "cobol": {}})

        # when
        listed = workspace.list_environments()

        # then
        assert list(listed) == sorted([*CURATED_NAMES, "churn"])
        assert "environment 'odd:1' cannot be used" in caplog.text

    def test_all_environments_are_listed_in_their_newest_version(
        self, workspace: Workspace
    ) -> None:
        # given
        register_three_versions(workspace)
        workspace.register_environment(an_environment("churn"))

        # when
        listed = workspace.list_environments()

        # then
        assert list(listed) == sorted([*CURATED_NAMES, "churn", "sklearn"])
        assert listed["sklearn"] == workspace.get_environment("sklearn:3")


class TestRegistering:
    def test_a_registered_environment_comes_back_with_its_version(
        self, workspace: Workspace
    ) -> None:
        # given
        environment = an_environment()

        # when
        registered = workspace.register_environment(environment)

        # then
        assert registered.version == "1"
        assert registered == workspace.get_environment("sklearn")
        assert environment.version is None

    def test_unchanged_content_keeps_its_version(self, workspace: Workspace) -> None:
        # given
        registered = workspace.register_environment(an_environment())

        # when
        again = workspace.register_environment(registered)

        # then
        assert again.version == "1"

    def test_content_that_an_older_package_wrote_in_fewer_words_keeps_its_version(
        self, workspace: Workspace
    ) -> None:
        # given
        content = {"name": "sklearn", "python": {"packages": ["scikit-learn==1.7.2"]}}
        workspace.history.environments.register("sklearn", content)

        # when
        registered = workspace.register_environment(an_environment())

        # then
        assert registered.version == "1"

    def test_a_new_version_takes_the_place_of_one_that_cannot_be_read(
        self, workspace: Workspace
    ) -> None:
        # given
        workspace.history.environments.register("sklearn", {"name": "sklearn", "cobol": {}})

        # when
        workspace.register_environment(an_environment())

        # then
        assert workspace.get_environment("sklearn").version == "2"

    @pytest.mark.parametrize("name", ["MLTrain-Minimal", "MLTrain-Mine", "AzureML-Minimal"])
    def test_a_reserved_name_is_refused(self, workspace: Workspace, name: str) -> None:
        # when / then
        with pytest.raises(ConfigurationError, match=f"'{name}'.*clone it under another name"):
            workspace.register_environment(an_environment(name))
        assert workspace.history.environments.list_latest() == {}

    def test_what_was_made_wrong_in_place_is_refused(self, workspace: Workspace) -> None:
        # given
        environment = an_environment()
        environment.python.packages.append("numpy=1 !!")

        # when / then
        with pytest.raises(ConfigurationError, match=r"python\.packages\[1\]: 'numpy=1 !!'"):
            workspace.register_environment(environment)
        assert workspace.history.environments.list_latest() == {}

    def test_an_environment_with_credentials_equals_what_was_kept_of_it(
        self, workspace: Workspace
    ) -> None:
        # given
        environment = an_environment()
        environment.python.index.extra_urls.append("https://me:s3cretword@packages.example.org/")

        # when
        registered = workspace.register_environment(environment)

        # then
        assert workspace.get_environment("sklearn") == registered
        assert collect_credentials(registered, {}) == {
            "packages.example.org": ("me", "s3cretword")
        }

    def test_credentials_are_not_kept_and_the_environment_that_comes_back_has_them(
        self, workspace: Workspace, tmp_path: Path
    ) -> None:
        # given
        index = {"url": "https://me:s3cretword@packages.example.org/index/"}
        environment = Environment("private", python={"packages": ["ours"], "index": index})

        # when
        registered = workspace.register_environment(environment)

        # then
        kept = b"".join(path.read_bytes() for path in tmp_path.glob("history.db*"))
        assert b"packages.example.org" in kept
        assert b"s3cretword" not in kept
        assert collect_credentials(registered, {}) == {
            "packages.example.org": ("me", "s3cretword")
        }


class TestLabelling:
    def test_a_label_moves_to_the_version_that_is_named_last(self, workspace: Workspace) -> None:
        # given
        register_three_versions(workspace)
        workspace.label_environment("sklearn", 1, ["production", "proven"])

        # when
        workspace.label_environment("sklearn", "2", ["production"])

        # then
        assert workspace.get_environment("sklearn@production").version == "2"
        assert workspace.get_environment("sklearn@proven").version == "1"

    def test_a_single_label_needs_no_list(self, workspace: Workspace) -> None:
        # given
        register_three_versions(workspace)

        # when
        workspace.label_environment("sklearn", 2, "production")

        # then
        assert workspace.get_environment("sklearn@production").version == "2"

    @pytest.mark.parametrize("labels", [[1], 1, None])
    def test_a_label_that_is_no_text_is_refused(
        self, workspace: Workspace, labels: list[str]
    ) -> None:
        # given
        register_three_versions(workspace)

        # when / then
        with pytest.raises(ConfigurationError, match="its label should be text"):
            Environment.label(workspace, "sklearn", 1, labels)

    def test_a_version_that_does_not_exist_gets_no_label(self, workspace: Workspace) -> None:
        # given
        register_three_versions(workspace)

        # when / then
        with pytest.raises(ConfigurationError, match="no version 4; its newest version is 3"):
            workspace.label_environment("sklearn", 4, ["production"])

    @pytest.mark.parametrize("label", ["latest", "", "two words"])
    def test_of_labels_with_one_that_cannot_be_set_none_is(
        self, workspace: Workspace, label: str
    ) -> None:
        # given
        register_three_versions(workspace)

        # when
        with pytest.raises(ConfigurationError, match=f"label '{label}'"):
            workspace.label_environment("sklearn", 1, ["production", label])

        # then
        assert workspace.history.environments.list_versions("sklearn") == {1: [], 2: [], 3: []}

    def test_a_curated_environment_gets_no_label(self, workspace: Workspace) -> None:
        # when / then
        with pytest.raises(ConfigurationError, match="belong to curated environments"):
            workspace.label_environment("MLTrain-Minimal", 1, ["production"])


class TestWheels:
    def test_a_wheel_is_kept_once_by_its_content(
        self, workspace: Workspace, tmp_path: Path
    ) -> None:
        # given
        wheel = tmp_path / "ours-1.0-py3-none-any.whl"
        wheel.write_bytes(b"zipped")

        # when
        digests = {workspace.add_wheel(wheel), workspace.add_wheel(wheel)}

        # then
        assert digests == {hashlib.sha256(b"zipped").hexdigest()}
        assert workspace.artifacts.blobs.read(digests.pop()) == b"zipped"

    def test_a_wheel_that_is_not_there_is_named(
        self, workspace: Workspace, tmp_path: Path
    ) -> None:
        # when / then
        with pytest.raises(ArtifactError, match=r"missing\.whl"):
            workspace.add_wheel(tmp_path / "missing.whl")


class TestThroughOtherDoors:
    def test_an_environment_registers_labels_and_lists_itself(self, workspace: Workspace) -> None:
        # given
        environment = an_environment().register(workspace)

        # when
        Environment.label(workspace, "sklearn", 1, ["production"])

        # then
        assert Environment.get(workspace, "sklearn", label="production") == environment
        assert Environment.list(workspace)["sklearn"] == environment

    def test_a_dag_registers_labels_and_lists_environments_through_the_hook(
        self, airflow_home: Path
    ) -> None:
        # given
        hook = EnvironmentHook()
        registered = hook.register(an_environment())

        # when
        hook.label("sklearn", 1, ["production"])

        # then
        assert hook.get_environment("sklearn", label="production") == registered
        assert hook.list_environments()["sklearn"] == registered
        assert (airflow_home / "mltrain" / "history.db").exists()

    def test_a_workspace_costs_nothing_until_it_is_used(
        self, workspace: Workspace, settings: Settings
    ) -> None:
        # when
        workspace.get_environment("MLTrain-Minimal")

        # then
        assert not settings.artifacts.exists()
        assert not Path(settings.database_url.removeprefix("sqlite:///")).exists()
