"""Experiments and their runs as submission code written for Azure ML asks for them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from airflow_mltrain import DockerConfiguration, Experiment, Run, ScriptRunConfig, Workspace
from airflow_mltrain.errors import AbsentError, ConfigurationError
from airflow_mltrain.runs.status import RunStatus
from tests.contracts.history_bench import NOON, a_run


@pytest.fixture
def churn(workspace: Workspace) -> Experiment:
    """An experiment with 250 runs of an hour each, every tenth of them failed, and a child."""
    for hour in range(250):
        workspace.history.add(
            a_run(
                f"run-{hour}",
                created_at=NOON + timedelta(hours=hour),
                status=RunStatus.COMPLETED if hour % 10 else RunStatus.FAILED,
                tags={"parity": str(hour % 2), **({"best": "yes"} if hour == 7 else {})},
                properties={"azureml.git.commit": str(hour // 100)},
            )
        )
    workspace.history.add(
        a_run("run-249_fold", parent_run_id="run-249", status=RunStatus.FAILED, tags={"fold": "1"})
    )
    return Experiment(workspace, "churn")


def test_runs_are_read_newest_first_as_they_are_asked_for(churn: Experiment) -> None:
    newest = next(churn.get_runs())

    every = [run.id for run in Run.list(churn)]

    assert newest.id == "run-249"
    assert every == [f"run-{hour}" for hour in reversed(range(250))]


def test_runs_are_chosen_by_tags_properties_type_and_status(churn: Experiment) -> None:
    def ids(**asked: object) -> list[str]:
        return [run.id for run in Run.list(churn, **asked)]  # type: ignore[arg-type]

    assert ids(tags="best") == ["run-7"]
    assert len(ids(tags={"parity": 1})) == 125
    assert ids(tags={"parity": 0, "best": "yes"}) == []
    assert len(ids(properties={"azureml.git.commit": "2"})) == 50
    assert len(ids(status="Failed")) == 25
    assert len(ids(status="Failed", include_children=True)) == 26
    assert ids(type="hyperdrive") == []
    assert len(ids(type="azureml.scriptrun", include_children=True)) == 250
    assert [run.id for run in churn.get_runs(None, {"fold": "1"}, include_children=True)] == [
        "run-249_fold"
    ]
    with pytest.raises(ConfigurationError, match=r"Done.*Completed"):
        Run.list(churn, status="Done")


def test_tags_that_are_given_beside_a_config_are_kept_as_text(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "train.py").touch()
    config = ScriptRunConfig(tmp_path / "project", "train.py", tags={"a": "0", "b": "2"})
    churn = Experiment(workspace, "churn")

    run = churn.submit(config, {"a": 1, "flag": None})
    run.wait_for_completion()

    assert run.get_tags() == {"a": "1", "b": "2", "flag": ""}
    assert config.tags == {"a": "0", "b": "2"}
    assert [one.id for one in Run.list(churn, tags={"a": "1"})] == [run.id]
    with pytest.raises(ConfigurationError, match="tags"):
        churn.submit(config, {"nul": "\0"})


def test_experiments_are_listed_and_archived_until_their_next_run(
    workspace: Workspace, churn: Experiment
) -> None:
    workspace.history.add(a_run(experiment="fraud"))
    fraud = Experiment(workspace, "fraud")
    fraud.tag("team", "payments")

    def names(**asked: object) -> list[str]:
        return [one.name for one in Experiment.list(workspace, **asked)]  # type: ignore[arg-type]

    fraud.archive()

    assert names() == ["churn"]
    assert names(view_type="ArchivedOnly") == ["fraud"]
    assert names(view_type="All", tags={"team": "payments"}) == ["fraud"]
    assert fraud.archived_time is not None
    assert next(fraud.get_runs()).experiment.name == "fraud"
    workspace.history.add(
        a_run("later", experiment="fraud", created_at=fraud.archived_time + timedelta(seconds=1))
    )
    assert names() == [churn.name, "fraud"]
    with pytest.raises(ConfigurationError, match="ActiveOnly"):
        names(view_type="Archived")


def test_an_experiment_that_was_taken_back_is_listed(workspace: Workspace) -> None:
    workspace.history.add(a_run(experiment="fraud"))
    fraud = Experiment(workspace, "fraud")
    fraud.archive()

    with pytest.raises(AbsentError, match="new_name"):
        fraud.reactivate("frauds")
    fraud.reactivate()

    assert [one.name for one in Experiment.list(workspace)] == ["fraud"]


def test_an_experiment_without_a_run_is_not_there(workspace: Workspace) -> None:
    with pytest.raises(ConfigurationError, match="'typo' has no run"):
        Experiment(workspace, "typo").archive()


def test_tags_come_and_go_and_properties_stay(churn: Experiment) -> None:
    run = Run.get(churn.workspace, "run-3")

    run.tag("stage", 2)
    run.set_tags({"owner": None})
    run.remove_tags(["parity"])
    run.add_properties({"model": "ridge", "azureml.git.commit": "0"})
    run.display_name = "third try"

    assert run.tags == {"stage": "2", "owner": ""}
    assert run.properties == {"model": "ridge", "azureml.git.commit": "0"}
    assert (run.display_name, run.type, run.status) == (
        "third try",
        "azureml.scriptrun",
        "Completed",
    )
    with pytest.raises(ConfigurationError, match=r"never change: azureml\.git\.commit"):
        run.add_properties({"azureml.git.commit": "1"})


def test_what_azure_ml_has_beside_is_refused_with_what_to_do(
    workspace: Workspace, churn: Experiment
) -> None:
    run = next(churn.get_runs())

    for use, remedy in [
        (lambda: run.log("loss", 1), r"Run\.log .*mltrain\.Run\.get_context"),  # type: ignore[attr-defined]
        (lambda: churn.start_logging, r"Experiment\.start_logging"),  # type: ignore[attr-defined]
        (lambda: workspace.compute_targets, "Airflow connections"),  # type: ignore[attr-defined]
        (lambda: Workspace.create("mine"), r"Workspace\.create"),  # type: ignore[attr-defined]
        (lambda: churn.submit(ScriptRunConfig("."), script_params={}), "script"),
        (lambda: churn.submit(ScriptRunConfig(".", "a.py"), workspace=1), "workspace is not"),
        (lambda: run.download_files(timeout_seconds=3), "timeout_seconds"),
    ]:
        with pytest.raises(ConfigurationError, match=remedy):
            use()  # type: ignore[no-untyped-call]
    assert not hasattr(run, "log")
    with pytest.raises(AttributeError, match="no attribute 'lgo'"):
        run.lgo  # type: ignore[attr-defined]  # noqa: B018


def test_a_workspace_that_is_named_as_in_azure_is_the_configured_one(airflow_home: Path) -> None:
    with pytest.warns(UserWarning, match="subscription_id, resource_group, cloud can") as caught:
        workspace = Workspace("0000", "group", cloud="AzureCloud")

    assert [warning.filename for warning in caught] == [__file__]
    assert workspace.settings == Workspace.from_config().settings
    assert str(workspace.settings.artifacts).startswith(str(airflow_home))


def test_the_coordinates_of_a_workspace_in_azure_count_for_nothing_as_one_warning_says(
    airflow_home: Path,
) -> None:
    with pytest.warns(UserWarning, match=r"name, subscription_id can be left out") as caught:
        workspace = Workspace.get("mine", subscription_id="0000")

    assert len(caught) == 1
    assert str(workspace.settings.artifacts).startswith(str(airflow_home))


def test_a_run_that_needs_a_container_is_submitted_to_no_other_target(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text("")
    config = ScriptRunConfig(
        tmp_path, "train.py", docker_runtime_config=DockerConfiguration(use_docker=True)
    )

    with pytest.raises(ConfigurationError, match="runs no images"):
        Experiment(workspace, "churn").submit(config)

    assert workspace.history.list_runs() == []
