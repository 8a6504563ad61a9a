"""Environments that a Dag builds, by tasks that Airflow runs in one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_mltrain import Environment
from airflow_mltrain.operators.build_environment import BuildEnvironmentOperator
from airflow_mltrain.runs.status import RunStatus
from tests.services.dag_run import DagRun, dag_test, workspace_below
from tests.services.package_index import package_index

_DAGS = Path(__file__).parent / "dags"
_PASSWORD = "s3cret-of-the-index"  # noqa: S105 - made up


@pytest.fixture(scope="module")
def dag_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagRun]:
    folder = tmp_path_factory.mktemp("warming")
    with package_index(folder / "index", ("me", _PASSWORD)) as index:
        index.add("alpha", "1.0", requires=["beta"])
        index.add("beta", "1.0")
        Environment("registered").register(workspace_below(folder / "home"))
        variables = {"INDEX_URL": index.url_with_credentials, "NOTE": str(folder / "note")}
        with dag_test(_DAGS / "warming.py", folder, **variables) as dag_run:
            yield dag_run


@pytest.mark.airflow
@pytest.mark.slow
class TestDagRun:
    def test_a_build_outlasts_its_deferral_and_returns_its_run(self, dag_run: DagRun) -> None:
        # when
        [run] = dag_run.runs("deferred")

        # then
        assert "Pausing task as DEFERRED" in dag_run.log
        assert run.status is RunStatus.COMPLETED
        assert (dag_run.home.parent / "note").read_text() == run.run_id
        assert run.config["run_config"]["prepare_timeout_seconds"] == 60

    def test_what_was_rendered_is_what_is_built(self, dag_run: DagRun) -> None:
        # given
        [run] = dag_run.runs("deferred")
        assert run.environment_key is not None

        # when
        resolved = dag_run.workspace.history.find_resolved(run.environment_key)

        # then
        assert resolved is not None
        versions = [line.split(" ")[0] for line in resolved["packages"]]
        assert versions == ["alpha==1.0", "beta==1.0"]

    def test_the_credentials_of_an_index_are_used_and_kept_nowhere(self, dag_run: DagRun) -> None:
        # given
        files = [path for path in dag_run.home.rglob("*") if path.is_file()]

        # when
        telling = [path for path in files if _PASSWORD.encode() in path.read_bytes()]

        # then
        assert dag_run.attempts["deferred"][0] == "success"
        assert telling == []
        assert _PASSWORD not in dag_run.log

    def test_a_registered_environment_is_built_by_its_rendered_name(self, dag_run: DagRun) -> None:
        # when
        [run] = dag_run.runs("by_name")

        # then
        environment = run.config["run_config"]["environment"]
        assert (environment["name"], environment["version"]) == ("registered", "1")
        assert (run.status, run.target) == (RunStatus.COMPLETED, "local")

    def test_a_mapped_task_builds_an_environment_each(self, dag_run: DagRun) -> None:
        # when
        names = {run.config["run_config"]["environment"]["name"] for run in dag_run.runs("mapped")}

        # then
        assert names == {"registered", "plain"}

    @pytest.mark.parametrize("task_id", ["unknown", "wrong"])
    def test_bad_input_fails_the_task_at_once_and_starts_nothing(
        self, dag_run: DagRun, task_id: str
    ) -> None:
        # when
        runs = dag_run.runs(task_id)

        # then
        assert dag_run.attempts[task_id] == ["failed", 1]
        assert runs == []


def test_every_text_within_an_environment_may_be_a_template() -> None:
    # given
    python = {"packages": ["numpy=={{ params.numpy }}"], "version": "{{ params.python }}"}
    build = BuildEnvironmentOperator(
        task_id="build",
        environment=Environment("churn", python=python),
        compute_target="{{ params.target }}",
    )

    # when
    params = {"numpy": "2.2.6", "python": "3.11", "target": "gpu"}
    build.render_template_fields({"params": params})

    # then
    rendered = Environment.model_validate(build.environment)
    assert rendered.python.packages == ["numpy==2.2.6"]
    assert rendered.python.version == "3.11"
    assert build.compute_target == "gpu"
