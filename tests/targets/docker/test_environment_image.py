"""An environment that one volume has is an image for all others, through a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker import DockerClient

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.registry import connect
from tests.services.docker_engine import DockerEngine
from tests.services.docker_jobs import DockerBench, DockerPlace, container_names
from tests.services.docker_registry import DockerRegistry
from tests.services.environments import environment_request
from tests.services.jobs import wait_until_ended
from tests.services.package_index import package_index

if TYPE_CHECKING:
    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget, JobState
    from tests.services.package_index import PackageIndex

_IMPORT = "import alpha, sys; print('alpha', alpha.__version__, sys.prefix)"
_UNPRIVILEGED = "mltrain-test/unprivileged:3"


@pytest.fixture(scope="module")
def registry() -> Iterator[DockerRegistry]:
    with DockerRegistry("ada", "correct horse") as registry:
        yield registry


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with package_index(tmp_path / "index") as index:
        index.add("alpha", "1.0", requires=["beta"])
        index.add("beta", "1.0")
        yield index


Connect = Callable[[DockerPlace], "ComputeTarget"]


@pytest.fixture
def other_place(
    engine: DockerEngine, client: DockerClient, bench: DockerBench
) -> Iterator[DockerPlace]:
    place = DockerPlace(engine, client, bench.outside)
    yield place
    place.remove()


@pytest.fixture
def connect_at(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, registry: DockerRegistry
) -> Connect:
    """A target at a volume, which shares through the registry."""

    def connect_at(place: DockerPlace) -> ComputeTarget:
        shared = f"{registry.address}/team/ml"
        told = place.connection_json(registry, registry=shared, image=_UNPRIVILEGED)
        monkeypatch.setenv("AIRFLOW_CONN_ENGINE", told)
        return connect("engine", settings)

    return connect_at


def _train(
    target: ComputeTarget, bench: DockerBench, environment: Any, folder: Path
) -> tuple[str, JobState]:
    run_id = bench.python(target, _IMPORT, environment=environment)
    ended = wait_until_ended(target, run_id)
    folder.mkdir()
    target.fetch(run_id, folder)
    return run_id, ended


def _forget_images(client: DockerClient) -> None:
    for image in client.images.list():
        for tag in image.tags:
            if "mltrain-env:" in tag or "/team/ml:" in tag:
                client.images.remove(tag, force=True)


def test_an_environment_that_was_built_is_pulled_where_it_was_not(
    client: DockerClient,
    registry: DockerRegistry,
    connect_at: Connect,
    place: DockerPlace,
    other_place: DockerPlace,
    bench: DockerBench,
    index: PackageIndex,
    tmp_path: Path,
) -> None:
    # given
    environment = environment_request(index, "alpha")
    first = connect_at(place)
    _, built = _train(first, bench, environment, tmp_path / "first")
    _forget_images(client)
    index.stop()
    second = connect_at(other_place)

    # when
    run_id, pulled = _train(second, bench, environment, tmp_path / "second")
    again, kept = _train(second, bench, environment, tmp_path / "third")

    # then
    assert b" was built in " in built.log
    assert {built.status, pulled.status, kept.status} == {RunStatus.COMPLETED}, pulled
    assert pulled.log == kept.log == built.log.splitlines(keepends=True)[-1]
    assert pulled.environment == built.environment
    (tag,) = registry.repositories()["team/ml"]
    image = client.images.get(f"mltrain-env:{tag.removeprefix('env-')}")
    assert image.attrs["Config"]["User"] == "trainer"
    names = container_names(client)
    assert not names & {run_id, again}
    assert not [name for name in names if name.startswith("mltrain-publish")]


def test_an_environment_of_an_image_is_listed_and_collected_like_any_other(
    connect_at: Connect,
    place: DockerPlace,
    other_place: DockerPlace,
    bench: DockerBench,
    index: PackageIndex,
    tmp_path: Path,
) -> None:
    # given
    environment = environment_request(index, "alpha", "beta")
    first = connect_at(place)
    _train(first, bench, environment, tmp_path / "first")
    second = connect_at(other_place)
    _, ended = _train(second, bench, environment, tmp_path / "second")

    # when
    listed = second.list_environments()
    removed = second.collect_environments(0)

    # then
    assert ended.environment is not None
    assert [one.key for one in listed] == [ended.environment["key"]]
    assert [one.key for one in removed] == [ended.environment["key"]]
    assert second.list_environments() == []
    _, after = _train(second, bench, environment, tmp_path / "third")
    assert after.status is RunStatus.COMPLETED
    assert b" was built in " not in after.log
