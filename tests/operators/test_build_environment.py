"""Environments that a Dag builds, by tasks that Airflow runs in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_mltrain import Environment, Workspace
from airflow_mltrain.operators.build_environment import BuildEnvironmentOperator
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.settings import Settings
from tests.services.package_index import package_index

_DAGS = Path(__file__).parent / "dags"
_PASSWORD = "s3cret-of-the-index"  # noqa: S105 - made up


@dataclass(frozen=True)
class DagRun:
    """A Dag run that is over, with what it left."""

    home: Path
    workspace: Workspace
    attempts: Mapping[str, list[object]]  # state and try number, by task
    returned: str
    log: str

    def runs(self, task_id: str) -> list[RunRecord]:
        """The training runs that a task submitted."""
        return [
            record
            for record in self.workspace.history.list_runs("environments")
            if record.submission is not None and record.submission.task_id == task_id
        ]


@pytest.fixture(scope="module")
def dag_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagRun]:
    folder = tmp_path_factory.mktemp("warming")
    home = folder / "home"
    with package_index(folder / "index", ("me", _PASSWORD)) as index:
        index.add("alpha", "1.0", requires=["beta"])
        index.add("beta", "1.0")
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(_DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__MLTRAIN__DEFER_AFTER_SECONDS": "0",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "0",
            "INDEX_URL": index.url_with_credentials,
            "NOTE": str(folder / "note"),
        }
        workspace = _workspace(home)
        Environment("registered").register(workspace)
        airflow = Path(sys.executable).with_name("airflow")
        subprocess.run(
            [airflow, "db", "migrate"], env=environment, check=True, capture_output=True
        )
        ended = subprocess.run(
            [sys.executable, _DAGS / "warming.py", folder / "attempts"],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    attempts = json.loads((folder / "attempts").read_text())
    yield DagRun(home, workspace, attempts, (folder / "note").read_text(), ended.stdout)
    workspace.history.close()


def _workspace(home: Path) -> Workspace:
    folder = home / "mltrain"
    return Workspace(
        Settings(f"sqlite:///{folder}/history.db", folder / "artifacts", folder / "local")
    )


@pytest.mark.airflow
@pytest.mark.slow
class TestDagRun:
    def test_a_build_outlasts_its_deferral_and_returns_its_run(self, dag_run: DagRun) -> None:
        # when
        [run] = dag_run.runs("deferred")

        # then
        assert "Pausing task as DEFERRED" in dag_run.log
        assert run.status is RunStatus.COMPLETED
        assert dag_run.returned == run.run_id
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
