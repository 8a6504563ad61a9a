"""Secrets that a run gets in every way there is are looked for in every place there is."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet

from airflow_mltrain.runs.status import RunStatus
from tests.end_to_end.conftest import CANARIES, runs_of
from tests.services.secret_search import (
    Watch,
    command_lines,
    foreign_environments,
    inspected_containers,
    search_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mltrain.runs.history import RunHistory
    from scripts.airflow_stack import AirflowStack
    from tests.end_to_end.conftest import EngineForAll
    from tests.services.spark_cluster import SparkCluster
    from tests.services.ssh_host import SshHost

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

_KINDS = ("local", "ssh", "docker", "spark")
_NAMES = ("connection", "variable", "host", "registry")
_OWNER = b"MLTRAIN_RUN_ID"
_OF_ENGINE = ("volumes", "containers")
_SEEN = {"dag": "canary_docker"}  # no secret: shows that a look sees anything


def test_a_secret_is_nowhere_but_in_the_processes_of_its_script(
    airflow: AirflowStack,
    history: RunHistory,
    gpu_box: SshHost,
    docker_engine: EngineForAll,
    spark_cluster: SparkCluster,
) -> None:
    # given
    given = {name: f"s3cret{name}{uuid4().hex}" for name in _NAMES}
    decoy = {"decoy": f"decoy{uuid4().hex}"}
    _connect(airflow, given, gpu_box, docker_engine, spark_cluster)
    words = {**given, **CANARIES, **decoy}
    for_script = {name: words[name] for name in ("connection", "variable", "decoy")}
    seen_words, seen_variables = {**words, **_SEEN}, {**for_script, "home": str(airflow.home)}
    watched: dict[str, Callable[[], Iterator[bytes]]] = {
        "command line": command_lines,
        "docker inspect": partial(inspected_containers, docker_engine.client),
        "trigger": partial(_triggers, airflow),
    }
    others = {"environment": partial(foreign_environments, _OWNER)}

    # when
    with Watch(seen_words, watched) as watch, Watch(seen_variables, others) as environments:
        started = {
            kind: airflow.trigger(f"canary_{kind}", {"decoy": decoy["decoy"]}) for kind in _KINDS
        }
        ends = [
            airflow.wait_for_dag_run(f"canary_{kind}", dag_run_id)
            for kind, dag_run_id in started.items()
        ]

    # then every script got them, ran on and failed with a trace
    assert ends == ["failed"] * len(_KINDS)
    for kind, dag_run_id in started.items():
        [run] = runs_of(history, dag_run_id)
        log = (airflow.home / "mltrain/artifacts/runs" / run.run_id / "log").read_text()
        assert (run.status, run.exit_code) == (RunStatus.FAILED, 1), (kind, run.error)
        assert "RuntimeError: the canary died" in log
        for name in ("connection", "variable"):
            assert sha256(given[name].encode()).hexdigest() in log

    # then what is no secret is found wherever the search looks
    found = search_files(airflow.home, words)
    kept = {path for name, path in found if name == "decoy"}
    assert {"airflow.db", "mltrain/history.db"} <= kept
    for part in ("logs/dag_id=canary_local", "mltrain/artifacts/runs", "outputs/decoy"):
        assert [path for path in kept if part in path], part
    assert ("decoy", "command line") in watch.found
    for place in ("docker inspect", "trigger"):
        assert ("dag", place) in watch.found
    assert ("home", "environment") in environments.found

    # then no secret is
    volumes, containers = (docker_engine.engine.data_folder / name for name in _OF_ENGINE)
    for folder in (gpu_box.disk, gpu_box.home, volumes, containers, spark_cluster.folder):
        assert folder.is_dir()
        found |= search_files(folder, words)
    found |= watch.found | environments.found
    shown = ("decoy", "dag", "home")
    assert {(name, place) for name, place in found if name not in shown} == set()
    assert ("decoy", "environment") not in environments.found


def _connect(
    airflow: AirflowStack,
    given: dict[str, str],
    host: SshHost,
    docker_engine: EngineForAll,
    cluster: SparkCluster,
) -> None:
    """Leave what holds the secrets in Airflow's database, as its administrator does."""
    engine = json.loads(docker_engine.connection_json())
    engine |= {"host": "registry.example", "login": "ada", "password": given["registry"]}
    connections: dict[str, dict[str, Any]] = {
        "canary": {"conn_type": "generic", "password": given["connection"]},
        "canary_ssh": {**host.connection(), "password": given["host"]},
        "canary_docker": engine,
        "canary_spark": cluster.connection(),
    }
    for conn_id, fields in connections.items():
        extra = json.dumps(fields.pop("extra", {}))
        airflow.api("POST", "connections", {"connection_id": conn_id, **fields, "extra": extra})
    airflow.api("POST", "variables", {"key": "canary", "value": given["variable"]})


def _triggers(airflow: AirflowStack) -> Iterator[bytes]:
    """What Airflow's database holds of triggers, decrypted."""
    fernet = Fernet(airflow.environment["AIRFLOW__CORE__FERNET_KEY"])
    with closing(sqlite3.connect(f"file:{airflow.home}/airflow.db?mode=ro", uri=True)) as rows:
        for (kwargs,) in rows.execute("SELECT kwargs FROM trigger").fetchall():
            # Airflow leaves those of a deferral as they are, unless they were encrypted before.
            yield kwargs.encode() if kwargs.startswith("{") else fernet.decrypt(kwargs.encode())
