from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain import Environment, Workspace
from airflow_mltrain.cli import main
from airflow_mltrain.environments.curated import CURATED_NAMES

if TYPE_CHECKING:
    from tests.services.package_index import PackageIndex


def _rows(printed: str) -> dict[str, list[str]]:
    """The lines of a table by their first word."""
    return {line.split()[0]: line.split()[1:] for line in printed.splitlines()}


def test_registered_and_curated_environments_are_listed(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    environment = Environment("churn", python={"packages": ["numpy"]}).register(workspace)
    environment.python.packages = ["numpy==2.2.6"]
    environment.register(workspace)
    Environment.label(workspace, "churn", 1, ["production", "stable"])

    # when
    exit_code = main(["env", "list"])

    # then
    rows = _rows(capsys.readouterr().out)
    assert exit_code == 0
    assert set(rows) == {"NAME", "churn", *CURATED_NAMES}
    assert rows["churn"] == ["1-2", "production:1,", "stable:1", "numpy==2.2.6"]


def test_an_environment_is_shown_with_what_it_asks_for(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    python = {"version": "3.11", "packages": ["numpy", "pandas<3"]}
    Environment("churn", python=python).register(workspace)
    Environment.label(workspace, "churn", 1, ["production"])

    # when
    exit_code = main(["env", "show", "churn@production"])

    # then
    assert exit_code == 0
    assert capsys.readouterr().out == (
        "name                  churn\n"
        "version               1\n"
        "labels                production\n"
        "python                3.11\n"
        "packages              numpy\n"
        "                      pandas<3\n"
    )


def test_an_environment_is_shown_as_json(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    Environment("churn", python={"packages": ["numpy"]}).register(workspace)

    # when
    main(["env", "show", "churn:1", "--json"])

    # then
    shown = json.loads(capsys.readouterr().out)
    assert Environment.model_validate(shown["environment"]) == workspace.get_environment("churn")
    assert (shown["labels"], shown["resolved"]) == ([], {})


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_the_values_of_environment_variables_are_not_shown(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    # given
    Environment("churn", environment_variables={"TOKEN": "s3cret"}).register(workspace)

    # when
    main(["env", "show", "churn", *form])

    # then
    shown = capsys.readouterr().out
    assert "TOKEN" in shown
    assert "s3cret" not in shown


def test_an_environment_that_no_target_builds_is_shown_all_the_same(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    Environment("imaged", docker={"base_image": "python:3.11"}).register(workspace)

    # when
    exit_code = main(["env", "show", "imaged"])

    # then
    assert exit_code == 0
    assert "docker base_image     python:3.11\n" in capsys.readouterr().out


@pytest.mark.usefixtures("tiny")
def test_the_versions_it_was_resolved_to_are_shown_once_it_was_built(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # given
    main(["env", "build", "tiny"])
    capsys.readouterr()

    # when
    main(["env", "show", "tiny"])

    # then
    title, *packages = capsys.readouterr().out.splitlines()[-3:]
    assert title.startswith("resolved on           cpython-")
    assert [line.strip() for line in packages] == ["alpha==1.0", "beta==1.0"]


def test_what_is_built_on_a_target_is_listed_with_its_size_and_last_use(
    workspace: Workspace, tiny: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    # given
    main(["env", "build", tiny.name])
    capsys.readouterr()

    # when
    main(["env", "list", "--target", "local"])

    # then
    [built] = workspace.get_target("local").list_environments()
    row = _rows(capsys.readouterr().out)[built.key]
    used = built.last_used_at.strftime("%Y-%m-%d %H:%M").split()
    assert row[:3] == ["tiny:1", built.python, "2"]
    assert row[-3:] == [*used, "no"]


def test_credentials_of_an_index_are_shown_by_their_variable_only(
    workspace: Workspace,
    index: PackageIndex,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # given
    monkeypatch.setenv("INDEX_TOKEN", "s3cret")
    url = index.url.replace("http://", "http://${INDEX_TOKEN}@")
    Environment("private", python={"index": {"url": url}}).register(workspace)

    # when
    main(["env", "show", "private"])

    # then
    assert f"index                 {url}\n" in capsys.readouterr().out
