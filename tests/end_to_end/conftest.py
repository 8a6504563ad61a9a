"""One real Airflow for all end-to-end tests, with all that its tasks run on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from docker import DockerClient

from airflow_mltrain.runs.history import RunHistory, open_run_history
from airflow_mltrain.runs.record import RunRecord
from scripts.airflow_stack import AirflowStack
from tests.services.docker_engine import DockerEngine
from tests.services.docker_image import python_image
from tests.services.patience import PATIENCE_SECONDS
from tests.services.postgresql import PostgresqlServer
from tests.services.spark_cluster import SparkCluster
from tests.services.ssh_host import SshHost

DAGS = Path(__file__).parent / "dags"
DEFER_AFTER_SECONDS = 3.0
# What workers have in their environment, for configs to refer to.
CANARIES = {name: f"s3cret-{name}-{uuid4().hex}" for name in ("index", "spark")}


_FOLDER = Path(__file__).parent
_running = ExitStack()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End what runs when a test of another folder comes next, which may be long before the end."""
    is_last = nextitem is None or _FOLDER not in nextitem.path.parents
    if _FOLDER in item.path.parents and is_last:
        _running.close()


@pytest.fixture(scope="session")
def gpu_box() -> SshHost:
    """A host whose runs reach the package index as this machine's do."""
    return _running.enter_context(SshHost())


@pytest.fixture(scope="session")
def spark_cluster() -> SparkCluster:
    return _running.enter_context(SparkCluster())


@dataclass(frozen=True)
class EngineForAll:
    """An engine whose containers outlive it, reach the package index and share a folder."""

    engine: DockerEngine
    client: DockerClient
    shared_folder: Path
    image: str = "mltrain-test/python:3"

    def connection_json(self) -> str:
        """A connection to it whose runs are in the image, unless they name another one."""
        mounts = [f"{self.shared_folder}:{self.shared_folder}"]
        return self.engine.connection_json(image=self.image, network="host", mounts=mounts)


@pytest.fixture(scope="session")
def docker_engine(tmp_path_factory: pytest.TempPathFactory) -> EngineForAll:
    engine = _running.enter_context(DockerEngine(live_restore=True))
    client = _running.enter_context(closing(engine.client()))
    one = EngineForAll(engine, client, tmp_path_factory.mktemp("shared"))
    python_image(client, one.image)
    return one


@pytest.fixture(scope="session")
def airflow_database(postgresql: PostgresqlServer) -> str:
    """The URL of what Airflow keeps its own in; SQLite makes a busy one wait for itself."""
    return postgresql.create_database()


@pytest.fixture(scope="session")
def airflow(
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    airflow_database: str,
) -> AirflowStack:
    home = tmp_path_factory.mktemp("airflow")
    settings = {
        **_connection_to_host(request),
        **_connection_to_engine(request),
        **_connection_to_cluster(request),
        "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
        "CANARY_INDEX": CANARIES["index"],
        "CANARY_SPARK": CANARIES["spark"],
        "AIRFLOW__MLTRAIN__DEFER_AFTER_SECONDS": str(DEFER_AFTER_SECONDS),
        "AIRFLOW__MLTRAIN__CANCEL_GRACE_SECONDS": "2",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",  # they stay as they are
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    }
    stack = _running.enter_context(AirflowStack(home, DAGS, settings, airflow_database))
    _running.callback(stack.kill_all)
    return stack


def _connection_to_host(request: pytest.FixtureRequest) -> dict[str, str]:
    """The connection of the compute target `gpu_box`; none where there can be no host."""
    try:
        host: SshHost = request.getfixturevalue("gpu_box")
    except pytest.skip.Exception:
        return {}
    index = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "UV_", "SSL_CERT_"))
    }
    extra = {"environment_variables": index}
    return {"AIRFLOW_CONN_GPU_BOX": host.connection_json(mltrain=extra)}


def _connection_to_engine(request: pytest.FixtureRequest) -> dict[str, str]:
    """The connection of the compute target `docker_engine`; none where there can be no engine."""
    try:
        engine: EngineForAll = request.getfixturevalue("docker_engine")
    except pytest.skip.Exception:
        return {}
    return {"AIRFLOW_CONN_DOCKER_ENGINE": engine.connection_json()}


def _connection_to_cluster(request: pytest.FixtureRequest) -> dict[str, str]:
    """The connection of the compute target `spark_cluster`; none where there can be no cluster."""
    try:
        cluster: SparkCluster = request.getfixturevalue("spark_cluster")
    except pytest.skip.Exception:
        return {}
    return {"AIRFLOW_CONN_SPARK_CLUSTER": cluster.connection_json()}


@pytest.fixture(scope="session")
def history(airflow: AirflowStack) -> RunHistory:
    return open_run_history(f"sqlite:///{airflow.home}/mltrain/history.db")


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A file for which a script waits before it ends."""
    return tmp_path / "release"


def wait_for(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {PATIENCE_SECONDS} s"
        time.sleep(0.1)


def runs_of(history: RunHistory, dag_run_id: str) -> list[RunRecord]:
    """The runs that a Dag run submitted, oldest first."""
    found = [
        record
        for record in history.list_runs(limit=1000)
        if record.submission is not None and record.submission.dag_run_id == dag_run_id
    ]
    return sorted(found, key=lambda record: (record.created_at, record.generation))
