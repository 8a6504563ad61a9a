"""Images that come from a registry, and those that are shared through one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from docker import DockerClient

from airflow_mltrain.config.container_options import ContainerOptions
from airflow_mltrain.environments.plan import ImagePlan
from airflow_mltrain.errors import JobStartError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.targets.base import ImageRequest
from airflow_mltrain.targets.docker.preparation import QuietPreparation
from airflow_mltrain.targets.registry import connect
from tests.services.docker_engine import DockerEngine
from tests.services.docker_image import python_image
from tests.services.docker_jobs import DockerBench
from tests.services.docker_registry import DockerRegistry
from tests.services.jobs import wait_until_ended

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget

    Connect = Callable[..., ComputeTarget]

_QUIET = QuietPreparation()


@pytest.fixture(scope="module")
def registry() -> Iterator[DockerRegistry]:
    with DockerRegistry("ada", "correct horse") as registry:
        yield registry


@pytest.fixture(autouse=True)
def agent(target: ComputeTarget) -> None:
    """The job agent's container, as where there were runs before; no test of these brings it."""
    target.list_jobs()


@pytest.fixture
def connect_with(
    engine: DockerEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Connect:
    def connect_with(
        login: DockerRegistry | None, on: DockerEngine = engine, **mltrain: Any
    ) -> ComputeTarget:
        told = {"volume": "shared", "network": "host", **mltrain}
        monkeypatch.setenv("AIRFLOW_CONN_ENGINE", on.connection_json(login, **told))
        return connect("engine", settings)

    return connect_with


def _push(client: DockerClient, registry: DockerRegistry, image: str, content: str) -> str:
    """Push the test's image, changed a little; its name in the registry."""
    name = f"{registry.address}/team/{image}"
    container = client.containers.create("mltrain-test/python:3")
    container.commit(name, "1", changes=f"LABEL content={content}")
    container.remove()
    login = {"username": registry.login, "password": registry.password}
    said = client.api.push(name, "1", auth_config=login)
    assert "digest" in said, said
    client.api.remove_image(f"{name}:1", force=True)
    return f"{name}:1"


def test_an_image_is_pulled_with_the_login_of_the_connection(
    client: DockerClient, registry: DockerRegistry, connect_with: Connect, bench: DockerBench
) -> None:
    # given
    target = connect_with(registry, image=_push(client, registry, "pulled", "any"))

    # when
    job = bench.job(target, "echo", "hello")
    facts = target.prepare(job, _QUIET)
    target.start(job)
    ended = wait_until_ended(target, job.run_id)

    # then
    assert (ended.status, ended.log) == (RunStatus.COMPLETED, b"hello\n")
    assert facts["mltrain.image_digest"].startswith(f"{registry.address}/team/pulled@sha256:")


def test_an_image_that_the_login_may_not_read_is_named(
    client: DockerClient, registry: DockerRegistry, connect_with: Connect, bench: DockerBench
) -> None:
    # given
    target = connect_with(None, image=_push(client, registry, "private", "any"))
    job = bench.job(connect_with(None, image="mltrain-test/python:3"), "true")

    # when, then
    with pytest.raises(JobStartError, match=r"team/private:1.*the connection's login may read it"):
        target.start(job)


def test_a_tag_that_moved_is_noticed_where_images_are_always_pulled(
    client: DockerClient, registry: DockerRegistry, connect_with: Connect, bench: DockerBench
) -> None:
    # given
    name = _push(client, registry, "moving", "old")
    always = connect_with(registry, image=name, pull="always")
    missing = connect_with(registry, image=name)
    job = bench.job(connect_with(None, image="mltrain-test/python:3"), "true")
    old = always.prepare(job, _QUIET)
    wait_until_ended_or_gone(always, job.run_id)
    _move(client, registry, name)

    # when
    kept = missing.prepare(bench.job(missing, "true"), _QUIET)
    moved = always.prepare(bench.job(always, "true"), _QUIET)

    # then
    assert kept == old
    assert moved["mltrain.image_id"] != old["mltrain.image_id"]
    assert moved["mltrain.image_digest"] != old["mltrain.image_digest"]
    for run_id in bench.run_ids:
        wait_until_ended_or_gone(always, run_id)


def _move(client: DockerClient, registry: DockerRegistry, name: str) -> None:
    """Push another image under that name, and have the engine know the old one by it."""
    before = client.images.get(name)
    _push(client, registry, "moving", "new")
    before.tag(*name.rsplit(":", 1))


def wait_until_ended_or_gone(target: ComputeTarget, run_id: str) -> None:
    """What was prepared and is not started is canceled."""
    target.cancel(run_id)


def test_an_image_that_one_engine_built_is_pulled_by_another(
    client: DockerClient,
    registry: DockerRegistry,
    connect_with: Connect,
    bench: DockerBench,
    tmp_path: Path,
) -> None:
    # given
    base = _push(client, registry, "base", "any")
    plan = ImagePlan(
        reference=None,
        dockerfile=f"FROM {base}\nRUN date +%s%N > /made\n",
        context_id=None,
        dockerfile_path="Dockerfile",
        options=ContainerOptions(shm_size_bytes=1 << 26),
    )
    request = ImageRequest(plan, BlobStore(tmp_path / "contexts"))
    shared = {"image": "mltrain-test/python:3", "registry": f"{registry.address}/team/built"}
    first = connect_with(registry, **shared)
    first_run = bench.job(first, "cat", "/made", image=request)
    first.start(first_run)
    made = wait_until_ended(first, first_run.run_id).log.splitlines()[-1]

    # when
    with DockerEngine() as other, closing(other.client()) as other_client:
        python_image(other_client, "mltrain-test/python:3")
        second = connect_with(registry, other, **shared)
        second_run = bench.job(second, "cat", "/made", image=request)
        second.start(second_run)
        again = wait_until_ended(second, second_run.run_id).log.splitlines()[-1]

    # then
    assert again == made
