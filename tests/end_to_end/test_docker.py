"""Runs in containers, through a real scheduler and triggerer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from tests.end_to_end.conftest import runs_of, wait_for
from tests.services.docker_jobs import container_names

if TYPE_CHECKING:
    from pathlib import Path

    from docker import DockerClient

    from airflow_mltrain.runs.history import RunHistory
    from scripts.airflow_stack import AirflowStack
    from tests.end_to_end.conftest import EngineForAll

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.slow]

_DAG = "wait_for_host"
_TARGET = "docker_engine"


def _defer(airflow: AirflowStack, seconds: float, diary: Path) -> str:
    """A Dag run whose task is deferred while its run goes on."""
    conf = {"target": _TARGET, "lines": 40, "seconds": seconds, "diary": str(diary)}
    dag_run_id = airflow.trigger(_DAG, conf)

    def is_deferred() -> bool:
        task = airflow.task_instance(_DAG, dag_run_id, "train")
        return task["state"] == "deferred" and task["triggerer_job"] is not None

    wait_for("the deferral", is_deferred)
    return dag_run_id


def _list_containers(client: DockerClient, dag_run_id: str) -> set[str]:
    return container_names(client, f"mltrain.dag_run_id={dag_run_id}")


@pytest.fixture
def client(docker_engine: EngineForAll) -> DockerClient:
    return docker_engine.client


@pytest.fixture
def diary(docker_engine: EngineForAll, request: pytest.FixtureRequest) -> Path:
    """A file that containers see too, where every start of the script is noted."""
    return docker_engine.shared_folder / str(request.node.name)


def test_the_log_of_a_run_is_whole_though_engine_and_triggerer_were_killed(
    airflow: AirflowStack, docker_engine: EngineForAll, client: DockerClient, diary: Path
) -> None:
    # given
    dag_run_id = _defer(airflow, 20, diary)

    # when
    docker_engine.engine.kill()
    airflow.kill("triggerer")
    docker_engine.engine.start()
    airflow.start("triggerer")

    # then
    assert airflow.wait_for_dag_run(_DAG, dag_run_id) == "success"
    log = airflow.task_log(_DAG, dag_run_id, "train")
    numbers = [int(number) for number in re.findall(r"line (\d+) of 40\b", log)]
    assert sorted(set(numbers)) == list(range(40))
    assert len(diary.read_text().split()) == 1
    assert _list_containers(client, dag_run_id) == set()


def test_marking_a_task_failed_ends_its_container(
    airflow: AirflowStack, history: RunHistory, client: DockerClient, diary: Path
) -> None:
    # given
    dag_run_id = _defer(airflow, 1000, diary)
    [run] = runs_of(history, dag_run_id)
    assert _list_containers(client, dag_run_id) == {run.run_id}

    # when
    path = f"dags/{_DAG}/dagRuns/{dag_run_id}/taskInstances/train"
    airflow.api("PATCH", path, {"new_state": "failed"})

    # then
    wait_for(
        "the end of the run",
        lambda: [run.status for run in runs_of(history, dag_run_id)] == [RunStatus.CANCELED],
    )
    wait_for("the end of its container", lambda: not _list_containers(client, dag_run_id))


def test_the_example_trains_in_an_image_and_an_environment_built_there(
    airflow: AirflowStack, docker_engine: EngineForAll, history: RunHistory
) -> None:
    # when
    dag_run_id = airflow.trigger("retrain_in_docker", {"image": docker_engine.image})
    state = airflow.wait_for_dag_run("retrain_in_docker", dag_run_id)

    # then
    assert state == "success"
    built, *trained = runs_of(history, dag_run_id)
    assert built.experiment == "environments"
    assert [run.status for run in trained] == [RunStatus.COMPLETED] * 3
    assert {run.environment_key for run in trained} == {built.environment_key}
    [image_id] = {run.properties["mltrain.image_id"] for run in [built, *trained]}
    assert image_id != docker_engine.client.images.get(docker_engine.image).id
    assert "image mltrain-image:" in airflow.task_log("retrain_in_docker", dag_run_id, "build")
    told = airflow.xcom("retrain_in_docker", dag_run_id, "summarize")
    assert set(told["run_ids"]) == {run.run_id for run in trained}
    assert 40 < told["rmse"] < 70
