"""Another engine that answers under an engine's address: runs belong to the one they began on."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain import ScriptRunConfig, Workspace, progress, submission
from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from tests.services.docker_engine import DockerEngine
from tests.services.docker_image import python_image
from tests.services.docker_jobs import container_names, forget_engines
from tests.services.jobs import wait_for

if TYPE_CHECKING:
    from airflow_mltrain.settings import Settings

_SCRIPT = """
import os, time
with open(os.environ["OUTSIDE"] + "/diary", "a") as diary:
    diary.write("ran\\n")
while not os.path.exists(os.environ["OUTSIDE"] + "/release"):
    time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def other_engine() -> Iterator[DockerEngine]:
    """It has the same image."""
    with DockerEngine() as engine, closing(engine.client()) as client:
        python_image(client, "mltrain-test/python:3")
        yield engine


class _Address:
    """A socket that leads to one engine or the other."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lead_to(self, engine: DockerEngine) -> None:
        """From now on; what this process has open to the one before is closed."""
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(engine.socket_url.removeprefix("unix://"))
        forget_engines()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (folder := tmp_path / "outside").mkdir()
    return folder


@pytest.fixture
def config(outside: Path, tmp_path: Path) -> ScriptRunConfig:
    (project := tmp_path / "project").mkdir()
    (project / "train.py").write_text(_SCRIPT)
    config = ScriptRunConfig(project, "train.py", compute_target="engine")
    config.run_config.environment_variables = {"OUTSIDE": str(outside)}
    return config


@pytest.fixture
def address(
    engine: DockerEngine, outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> _Address:
    """The connection `engine` names it; it leads to the engine that all tests share."""
    address = _Address(tmp_path / "socket")
    told = {
        "engine": f"unix://{address.path}",
        "image": "mltrain-test/python:3",
        "volume": "swapped",
        "mounts": [f"{outside}:{outside}"],
    }
    monkeypatch.setenv("AIRFLOW_CONN_ENGINE", engine.connection_json(**told))
    address.lead_to(engine)
    return address


def _in_other_process(work: Callable[[], object]) -> None:
    """Do it where nothing is known of any engine yet; what it raises is raised."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0


def _runs_on(engine: DockerEngine) -> set[str]:
    with closing(engine.client()) as client:
        return container_names(client, "mltrain.run_id")


def test_a_run_is_neither_lost_nor_begun_again_while_another_engine_answers(
    address: _Address,
    engine: DockerEngine,
    other_engine: DockerEngine,
    config: ScriptRunConfig,
    settings: Settings,
    outside: Path,
) -> None:
    # given
    workspace = Workspace(settings)
    _in_other_process(lambda: submission.submit(workspace, "swap", config))
    wait_for((outside / "diary").exists)
    (run,) = workspace.history.list_runs()

    def look() -> None:
        with pytest.raises(TargetUnreachableError, match="on another machine"):
            list(progress.follow(workspace, run.run_id))
        with pytest.raises(TargetUnreachableError, match="on another machine"):
            submission.start(workspace, replace(run, is_started=False))

    # when
    address.lead_to(other_engine)
    _in_other_process(look)
    status = workspace.history.get(run.run_id).status
    begun_there = _runs_on(other_engine)
    address.lead_to(engine)
    (outside / "release").touch()
    ended = progress.await_end(workspace, run.run_id)

    # then
    assert not status.is_terminal
    assert begun_there == set()
    assert ended.status is RunStatus.COMPLETED
    assert (outside / "diary").read_text() == "ran\n"


def test_a_run_that_was_recorded_for_one_engine_does_not_begin_on_another(
    address: _Address,
    engine: DockerEngine,
    other_engine: DockerEngine,
    config: ScriptRunConfig,
    settings: Settings,
    outside: Path,
) -> None:
    # given
    workspace = Workspace(settings)
    (outside / "release").touch()

    def submit() -> None:
        assert workspace.get_target("engine").place  # which is known for a while
        address.lead_to(other_engine)
        with pytest.raises(TargetUnreachableError, match=r"another Docker engine .* answers"):
            submission.submit(workspace, "swap", config)

    # when
    _in_other_process(submit)
    begun_there = _runs_on(other_engine)
    (run,) = workspace.history.list_runs()
    address.lead_to(engine)
    submission.start(workspace, run)
    ended = progress.await_end(workspace, run.run_id)

    # then
    assert begun_there == set()
    assert (run.status, ended.status) == (RunStatus.NOT_STARTED, RunStatus.COMPLETED)
    assert (outside / "diary").read_text() == "ran\n"
