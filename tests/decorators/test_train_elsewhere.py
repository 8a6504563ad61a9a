"""Functions of a Dag as training runs: in a container, on a host over SSH, on a Spark cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from airflow_mltrain.runs.status import RunStatus
from tests.services.dag_run import dag_test
from tests.services.docker_engine import DockerEngine
from tests.services.docker_image import python_image
from tests.services.spark_cluster import SparkCluster
from tests.services.ssh_host import SshHost

_DAGS = Path(__file__).parent / "dags"
_IMAGE = "mltrain-test/python:3"
pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@contextmanager
def _docker() -> Iterator[str]:
    with DockerEngine() as engine:
        with closing(engine.client()) as client:
            python_image(client, _IMAGE)
        yield engine.connection_json(image=_IMAGE, network="none")


@contextmanager
def _ssh() -> Iterator[str]:
    with SshHost() as host:
        yield host.connection_json()


@contextmanager
def _spark() -> Iterator[str]:
    with SparkCluster(workers=1) as cluster:
        yield cluster.connection_json()


@pytest.mark.parametrize("connection", [_docker, _ssh, _spark])
def test_a_function_takes_and_returns_json_and_its_exception_is_in_the_log(
    tmp_path: Path, connection: Callable[[], AbstractContextManager[str]]
) -> None:
    # given
    note = tmp_path / "note"

    # when
    with (
        connection() as told,
        dag_test(
            _DAGS / "elsewhere.py",
            tmp_path,
            NOTE=str(note),
            TARGET="elsewhere",
            AIRFLOW_CONN_ELSEWHERE=told,
        ) as dag_run,
    ):
        assert set(dag_run.attempts) == {"fit", "fail", "note"}, dag_run.log[-5000:]
        [fit], [fail] = dag_run.runs("fit"), dag_run.runs("fail")
        losses = [point.value for point in dag_run.workspace.history.get_metrics(fit.run_id)]
        kept = dag_run.workspace.artifacts.find_run(fail.run_id)
        assert kept is not None
        log = kept.read("log").decode()

    # then
    assert json.loads(note.read_text()) == {"rate": 0.5, "loss": 2.0}
    assert losses == [4.0, 2.0]
    assert (fit.status, fail.status, fail.exit_code) == (
        RunStatus.COMPLETED,
        RunStatus.FAILED,
        1,
    )
    assert "in dig" in log
    assert "ValueError: too deep: 7" in log
