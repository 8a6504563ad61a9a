"""Engines that are killed and come back, and what becomes of the runs on them."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Seen
from airflow_mltrain.targets.registry import connect
from tests.services.docker_engine import DockerEngine
from tests.services.docker_image import python_image
from tests.services.jobs import JobBench, require_quiet, wait_for, wait_for_log, wait_until_ended

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget

    ConnectTo = Callable[[DockerEngine], ComputeTarget]

# Docker's client leaves a socket open that it could not connect.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

_COUNT = """
touch "$OUTSIDE/begun"
i=0; while [ ! -e "$OUTSIDE/release" ]; do i=$((i+1)); echo $i; sleep 0.05; done
echo $i > outputs/count; touch "$OUTSIDE/over"
"""

_CANNOT_START_AGAIN = re.compile(r"start returned error: task \w+: already exists")
_MOST_KILLS = 40
_PAUSES = (0.0, 0.02, 0.04, 0.06, 0.08, 0.12, 0.18, 0.27, 0.4, 0.6)  # seconds


@pytest.fixture(scope="module")
def mortal_engine() -> Iterator[DockerEngine]:
    """An engine whose containers end with it."""
    with DockerEngine() as engine, closing(engine.client()) as client:
        python_image(client, "mltrain-test/python:3")
        yield engine


@pytest.fixture(scope="module")
def restoring_engine() -> Iterator[DockerEngine]:
    """An engine whose containers outlive it."""
    with DockerEngine(live_restore=True) as engine, closing(engine.client()) as client:
        python_image(client, "mltrain-test/python:3")
        yield engine


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[JobBench]:
    bench = JobBench(tmp_path / "bench")
    yield bench
    require_quiet(bench)
    gc.collect()


@pytest.fixture
def connect_to(bench: JobBench, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ConnectTo:
    def connect_to(engine: DockerEngine) -> ComputeTarget:
        told: dict[str, Any] = {
            "image": "mltrain-test/python:3",
            "network": "host",
            "mounts": [f"{bench.outside}:{bench.outside}"],
        }
        monkeypatch.setenv("AIRFLOW_CONN_ENGINE", engine.connection_json(**told))
        return connect("engine", settings)

    return connect_to


def _require_all_numbers(log: bytes, folder: Path) -> None:
    count = int((folder / "outputs/count").read_text())
    assert log == b"".join(b"%d\n" % number for number in range(1, count + 1))


def test_runs_on_an_engine_that_is_killed_fail_when_it_comes_back_and_say_why(
    mortal_engine: DockerEngine, connect_to: ConnectTo, bench: JobBench, tmp_path: Path
) -> None:
    # given
    target = connect_to(mortal_engine)
    run_id = bench.shell(target, "echo half > outputs/model; echo begun; sleep 1000")
    wait_for_log(target, run_id, b"begun\n")

    # when
    mortal_engine.kill()
    with pytest.raises(TargetUnreachableError, match="engine"):
        target.observe({run_id: Seen(RunStatus.RUNNING, log=2**40)}, 1.0)
    mortal_engine.start()
    ended = wait_until_ended(target, run_id)
    (tmp_path / "fetched").mkdir()
    target.fetch(run_id, tmp_path / "fetched")

    # then
    assert (ended.status, ended.log) == (RunStatus.FAILED, b"begun\n")
    assert ended.reason is not None
    assert "told to stop (SIGTERM)" in ended.reason  # an engine that begins stops what it finds
    assert (tmp_path / "fetched/outputs/model").read_text() == "half\n"


def test_an_engine_that_was_stopped_in_good_order_runs_the_next_job(
    mortal_engine: DockerEngine, connect_to: ConnectTo, bench: JobBench
) -> None:
    # given
    target = connect_to(mortal_engine)
    run_id = bench.shell(target, "echo begun; sleep 1000")
    wait_for_log(target, run_id, b"begun\n")

    # when
    mortal_engine.restart()
    ended = wait_until_ended(target, run_id)
    after = wait_until_ended(target, bench.shell(target, "echo after"))

    # then
    assert ended.status is RunStatus.FAILED
    assert ended.reason is not None
    assert "told to stop (SIGTERM)" in ended.reason
    assert (after.status, after.log) == (RunStatus.COMPLETED, b"after\n")


def test_a_run_goes_on_while_its_engine_is_away(
    restoring_engine: DockerEngine, connect_to: ConnectTo, bench: JobBench, tmp_path: Path
) -> None:
    # given
    target = connect_to(restoring_engine)
    run_id = bench.shell(target, _COUNT)
    wait_for_log(target, run_id, b"3\n")

    # when
    restoring_engine.kill()
    with pytest.raises(TargetUnreachableError, match="engine"):
        target.observe({run_id: Seen(RunStatus.RUNNING, log=2**40)}, 1.0)
    restoring_engine.start()
    assert wait_for_log(target, run_id, b"3\n").status is RunStatus.RUNNING
    (bench.outside / "release").touch()
    ended = wait_until_ended(target, run_id)
    (tmp_path / "fetched").mkdir()
    target.fetch(run_id, tmp_path / "fetched")

    # then
    assert ended.status is RunStatus.COMPLETED
    _require_all_numbers(ended.log, tmp_path / "fetched")


def test_a_run_that_ends_while_its_engine_is_away_has_completed_with_its_whole_log(
    restoring_engine: DockerEngine, connect_to: ConnectTo, bench: JobBench, tmp_path: Path
) -> None:
    # given
    target = connect_to(restoring_engine)
    run_id = bench.shell(target, _COUNT)
    wait_for((bench.outside / "begun").exists)

    # when
    restoring_engine.kill()
    (bench.outside / "release").touch()
    wait_for((bench.outside / "over").exists)
    restoring_engine.start()
    ended = wait_until_ended(target, run_id)
    (tmp_path / "fetched").mkdir()
    target.fetch(run_id, tmp_path / "fetched")

    # then
    assert ended.status is RunStatus.COMPLETED
    _require_all_numbers(ended.log, tmp_path / "fetched")


def test_a_container_whose_start_killed_the_engine_is_made_anew(
    restoring_engine: DockerEngine, connect_to: ConnectTo, bench: JobBench
) -> None:
    # given
    target = connect_to(restoring_engine)
    assert wait_until_ended(target, bench.shell(target, "true")).status is RunStatus.COMPLETED
    known = len(restoring_engine.log)

    for number in range(_MOST_KILLS):
        # when
        job = bench.job(target, "echo", "once")
        with ThreadPoolExecutor() as threads:
            start = threads.submit(target.start, job)
            wait_for(partial(_has_container, restoring_engine, job.run_id))
            time.sleep(_PAUSES[number % len(_PAUSES)])
            restoring_engine.kill()
        with suppress(TargetUnreachableError):
            start.result()
        restoring_engine.start()
        target.start(job)
        ended = wait_until_ended(target, job.run_id)

        # then
        assert (ended.status, ended.log) == (RunStatus.COMPLETED, b"once\n")
        if _CANNOT_START_AGAIN.search(restoring_engine.log, known):
            return
    pytest.fail("the engine was always able to start a container again")


def _has_container(engine: DockerEngine, name: str) -> bool:
    with closing(engine.client()) as client:
        return bool(client.api.containers(all=True, filters={"name": name}))


def test_a_run_that_dies_while_its_engine_is_away_has_failed(
    restoring_engine: DockerEngine, connect_to: ConnectTo, bench: JobBench
) -> None:
    # given
    target = connect_to(restoring_engine)
    script = 'echo begun; while [ ! -e "$OUTSIDE/release" ]; do sleep 0.05; done; kill -9 $PPID'
    run_id = bench.shell(target, script)
    wait_for_log(target, run_id, b"begun\n")

    # when
    restoring_engine.kill()
    (bench.outside / "release").touch()
    require_quiet(bench)
    restoring_engine.start()
    ended = wait_until_ended(target, run_id)

    # then
    assert (ended.status, ended.exit_code, ended.log) == (RunStatus.FAILED, 137, b"begun\n")
