"""Secrets that a run gets in every way there is are looked for in every place there is."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest
from cryptography.fernet import Fernet

from airflow_mltrain.runs.status import RunStatus
from tests.end_to_end.conftest import CANARIES, runs_of
from tests.services.docker_registry import DockerRegistry
from tests.services.secret_search import (
    Watch,
    command_lines,
    foreign_environments,
    inspected_containers,
    rows_in,
    search_files,
    variables_but,
    words_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_mltrain.runs.history import RunHistory
    from scripts.airflow_stack import AirflowStack
    from tests.end_to_end.conftest import EngineForAll
    from tests.services.spark_cluster import SparkCluster
    from tests.services.ssh_host import SshHost

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.slow]

_KINDS = ("local", "ssh", "key_file", "docker", "spark")
_NAMES = ("connection", "variable", "host", "registry", "passphrase")
_OWNER = b"MLTRAIN_RUN_ID"
_WORKERS_OWN = (b"CANARY_INDEX=", b"CANARY_SPARK=", b"AIRFLOW_CONN_GPU_BOX=")
_OF_ENGINE = ("volumes", "containers")
_SEEN = {"dag": "canary_docker"}  # no secret: shows that a look sees anything


def test_a_secret_is_nowhere_but_in_the_processes_of_its_script(
    airflow: AirflowStack,
    airflow_database: str,
    history: RunHistory,
    gpu_box: SshHost,
    docker_engine: EngineForAll,
    spark_cluster: SparkCluster,
    tmp_path: Path,
) -> None:
    # given
    given = {name: f"s3cret{name}{uuid4().hex}" for name in _NAMES}
    decoy = {"decoy": f"decoy{uuid4().hex}"}
    key_file = _locked_key(gpu_box, tmp_path, given["passphrase"])
    words = {**given, **CANARIES, **decoy, "key": gpu_box.private_key.splitlines()[4]}
    for_script = {name: words[name] for name in ("connection", "variable", "decoy")}
    seen_words, seen_variables = {**words, **_SEEN}, {**for_script, "home": str(airflow.home)}
    watched: dict[str, Callable[[], Iterator[bytes]]] = {
        "command line": command_lines,
        "docker inspect": partial(inspected_containers, docker_engine.client),
        "trigger": partial(_triggers, airflow, airflow_database),
    }
    others = {"environment": partial(foreign_environments, _OWNER)}
    # Some of these are what workers have in their environment, under these names.
    unnamed = {"variable": partial(variables_but, _WORKERS_OWN)}

    # when
    with (
        DockerRegistry("ada", given["registry"]) as registry,
        Watch(seen_words, watched) as watch,
        Watch(seen_variables, others) as environments,
        Watch({**words, "home": str(airflow.home)}, unnamed) as variables,
    ):
        image = _push(docker_engine, registry)
        _connect(airflow, given, gpu_box, docker_engine, spark_cluster, registry, image, key_file)
        started = {
            kind: airflow.trigger(f"canary_{kind}", {"decoy": decoy["decoy"]}) for kind in _KINDS
        }
        ends = [
            airflow.wait_for_dag_run(f"canary_{kind}", dag_run_id)
            for kind, dag_run_id in started.items()
        ]

    # then the image came for the login, and every script got them, ran on and failed with a trace
    assert docker_engine.client.images.list(image)
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
    for row in rows_in(airflow_database):
        found |= {(name, "Airflow's database") for name in words_in(row, words)}
    kept = {path for name, path in found if name == "decoy"}
    assert {"Airflow's database", "mltrain/history.db"} <= kept
    for part in ("logs/dag_id=canary_local", "mltrain/artifacts/runs", "outputs/decoy"):
        assert [path for path in kept if part in path], part
    assert ("decoy", "command line") in watch.found
    for place in ("docker inspect", "trigger"):
        assert ("dag", place) in watch.found
    assert ("home", "environment") in environments.found
    assert ("home", "variable") in variables.found

    # then no secret is
    volumes, containers = (docker_engine.engine.data_folder / name for name in _OF_ENGINE)
    for folder in (gpu_box.disk, gpu_box.home, volumes, containers, spark_cluster.folder):
        assert folder.is_dir()
        found |= search_files(folder, words)
    found -= {("key", gpu_box.private_key_file.name)}  # the host of the tests keeps it there
    found |= watch.found | environments.found
    found |= {one for one in variables.found if one[0] not in for_script}
    shown = ("decoy", "dag", "home")
    assert {(name, place) for name, place in found if name not in shown} == set()
    assert ("decoy", "environment") not in environments.found


def _connect(
    airflow: AirflowStack,
    given: dict[str, str],
    host: SshHost,
    docker_engine: EngineForAll,
    cluster: SparkCluster,
    registry: DockerRegistry,
    image: str,
    key_file: Path,
) -> None:
    """Leave what holds the secrets in Airflow's database, as its administrator does."""
    engine = json.loads(docker_engine.connection_json())
    engine["extra"]["mltrain"]["image"] = image
    by_file = host.connection(private_key=None, key_file=str(key_file))
    connections: dict[str, dict[str, Any]] = {
        "canary": {"conn_type": "generic", "password": given["connection"]},
        "canary_ssh": {**host.connection(), "password": given["host"]},
        "canary_key_file": {**by_file, "password": given["passphrase"]},
        "canary_docker": {**engine, **registry.connection_fields()},
        "canary_spark": cluster.connection(),
    }
    for conn_id, fields in connections.items():
        extra = json.dumps(fields.pop("extra", {}))
        airflow.api("POST", "connections", {"connection_id": conn_id, **fields, "extra": extra})
    airflow.api("POST", "variables", {"key": "canary", "value": given["variable"]})


def _push(docker_engine: EngineForAll, registry: DockerRegistry) -> str:
    """The name of an image that only its registry has, for who logs in there."""
    repository = f"{registry.address}/canary"
    client = docker_engine.client.api
    client.tag(docker_engine.image, repository, "1")
    login = {"username": registry.login, "password": registry.password}
    pushed = client.push(repository, "1", auth_config=login)
    assert registry.repositories() == {"canary": ["1"]}, pushed
    client.remove_image(f"{repository}:1")
    return f"{repository}:1"


def _locked_key(host: SshHost, folder: Path, passphrase: str) -> Path:
    """A key file that the passphrase opens; the host lets it in."""
    path = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path], check=True)
    with (host.disk / "authorized_keys").open("a") as keys:
        keys.write(path.with_suffix(".pub").read_text())
    return path


def _triggers(airflow: AirflowStack, database_url: str) -> Iterator[bytes]:
    """What Airflow's database holds of triggers, decrypted."""
    fernet = Fernet(airflow.environment["AIRFLOW__CORE__FERNET_KEY"])
    with psycopg.connect(database_url) as database:
        for (kwargs,) in database.execute("SELECT kwargs FROM trigger").fetchall():
            # Airflow leaves those of a deferral as they are, unless they were encrypted before.
            yield kwargs.encode() if kwargs.startswith("{") else fernet.decrypt(kwargs.encode())
