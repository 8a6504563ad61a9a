"""What becomes of a run whose task is given up, moved, or loses what it runs on.

All Dag runs begin at once, and each test looks after its own: docs/cancel-intent.md has the rows.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_mltrain.runs.history import RunHistory, open_run_history
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.runs.status import RunStatus
from scripts.airflow_stack import AirflowStack
from scripts.free_port import find_free_port
from tests.end_to_end.conftest import DAGS, runs_of, wait_for
from tests.services.jobs import is_running
from tests.services.postgresql import PostgresqlServer

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.slow]

_KINDS = ("on_worker", "deferred")
_BRIEF, _ENDLESS = 25, 3000  # seconds
# Which test goes on with which Dag.
_CASES = {
    "marked success": "goes_on",
    "cleared": "goes_on",
    "canceled": "goes_on",
    "drained": "goes_on",
    "moved": "goes_on",
    "last try": "last_try",
    "restarted": "goes_on",
    "task timeout": "task_times_out",
    "run duration": "runs_too_long",
    "Dag run timeout": "dag_run_times_out",
    "sensor timeout": "sensor_times_out",
}
_BEGIN_LATER = ("drained", "moved", "last try", "restarted")
_ARE_RELEASED = ("moved", "restarted")


@dataclass(frozen=True)
class Scene:
    """A Dag run, and the run that its task submitted."""

    airflow: AirflowStack
    history: RunHistory
    dag_id: str
    dag_run_id: str
    diary: Path
    database_url: str  # Airflow's own

    def task(self) -> Any:
        return self.airflow.task_instance(self.dag_id, self.dag_run_id, "train")

    def starts(self) -> list[int]:
        return [int(pid) for pid in self.diary.read_text().split()] if self.diary.exists() else []

    def run(self) -> RunRecord:
        return runs_of(self.history, self.dag_run_id)[-1]

    def await_wait(self) -> None:
        """Until the script runs and its task waits, in its own way."""
        state = "deferred" if self.dag_id.endswith("deferred") else "running"
        wait_for("start", self.starts)

        def is_waiting() -> bool:
            task = self.task()
            is_watched = state == "running" or task["triggerer_job"] is not None
            return task["state"] == state and is_watched

        wait_for(f"{state} of {self.dag_id}", is_waiting)

    def triggerer(self) -> int | None:
        """Who has the trigger of the task."""
        job = self.task()["triggerer_job"]
        return None if job is None else int(job["id"])

    def release(self) -> None:
        """Let the script come to its end."""
        self.diary.with_name(f"{self.diary.name}.release").touch()

    def set_task_state(self, state: str) -> None:
        path = f"dags/{self.dag_id}/dagRuns/{self.dag_run_id}/taskInstances/train"
        self.airflow.api("PATCH", path, {"new_state": state})

    def require_killed(self, status: RunStatus = RunStatus.CANCELED) -> None:
        """The one script that was started is gone, and the run says why."""
        (pid,) = self.starts()
        wait_for("the end of the script", lambda: not is_running(pid))
        wait_for("the end of the run", lambda: self.run().status is status)

    def require_adopted(self) -> None:
        """The one script that was started came to its end, and the task with it."""
        assert self.airflow.wait_for_dag_run(self.dag_id, self.dag_run_id) == "success"
        assert len(self.starts()) == 1
        assert [run.status for run in runs_of(self.history, self.dag_run_id)] == [
            RunStatus.COMPLETED
        ]

    def end(self) -> None:
        """Leave no script behind."""
        for pid in self.starts():
            if is_running(pid):
                os.kill(pid, signal.SIGTERM)


class Scenes:
    """Gives each case its Dag run: what is to be killed begins together, the others when asked."""

    def __init__(self, airflow: AirflowStack, history: RunHistory, database_url: str) -> None:
        self._airflow = airflow
        self._history = history
        self._database_url = database_url
        self._found: dict[tuple[str, str], Scene] = {}
        for case in _CASES:
            if case not in _BEGIN_LATER:
                for kind in _KINDS:
                    self[case, kind]

    def __getitem__(self, key: tuple[str, str]) -> Scene:
        if key not in self._found:
            case, kind = key
            dag_id = f"{_CASES[case]}_{kind}"
            diary = self._airflow.home / f"{case} {kind}"
            conf: dict[str, Any] = {"seconds": _ENDLESS, "diary": str(diary)}
            if case == "drained":
                conf["seconds"] = _BRIEF
            elif case in _ARE_RELEASED:
                conf |= {"seconds": 5, "release": f"{diary}.release"}
            dag_run_id = self._airflow.trigger(dag_id, conf)
            self._found[key] = Scene(
                self._airflow, self._history, dag_id, dag_run_id, diary, self._database_url
            )
        return self._found[key]

    def end(self) -> None:
        """Leave no script behind."""
        for scene in self._found.values():
            scene.end()


@pytest.fixture(scope="module")
def scenes(
    tmp_path_factory: pytest.TempPathFactory, postgresql: PostgresqlServer
) -> Iterator[Scenes]:
    home = tmp_path_factory.mktemp("airflow")
    history_url, airflow_url = postgresql.create_database(), postgresql.create_database()
    settings = {
        "AIRFLOW__MLTRAIN__DATABASE": history_url,
        "AIRFLOW__CORE__PARALLELISM": "16",
        "AIRFLOW__MLTRAIN__DEFER_AFTER_SECONDS": "2",
        "AIRFLOW__MLTRAIN__CANCEL_GRACE_SECONDS": "1",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",  # they stay as they are
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    }
    with AirflowStack(home, DAGS, settings, airflow_url) as airflow:
        scenes = Scenes(airflow, open_run_history(history_url), airflow_url)
        yield scenes
        scenes.end()
        airflow.kill_all()


@pytest.mark.parametrize("kind", _KINDS)
def test_a_timeout_of_the_task_kills_the_run(scenes: Scenes, kind: str) -> None:
    scene = scenes["task timeout", kind]

    assert scene.airflow.wait_for_dag_run(scene.dag_id, scene.dag_run_id) == "failed"

    scene.require_killed()
    assert scene.run().status is RunStatus.CANCELED


@pytest.mark.parametrize("kind", _KINDS)
def test_a_timeout_of_the_dag_run_kills_the_run(scenes: Scenes, kind: str) -> None:
    scene = scenes["Dag run timeout", kind]

    assert scene.airflow.wait_for_dag_run(scene.dag_id, scene.dag_run_id) == "failed"

    scene.require_killed()
    assert scene.run().status is RunStatus.CANCELED


@pytest.mark.parametrize("kind", _KINDS)
def test_max_run_duration_kills_the_run_and_fails_the_task(scenes: Scenes, kind: str) -> None:
    scene = scenes["run duration", kind]

    assert scene.airflow.wait_for_dag_run(scene.dag_id, scene.dag_run_id) == "failed"

    scene.require_killed(RunStatus.FAILED)
    assert "max_run_duration_seconds" in str(scene.run().error)


@pytest.mark.parametrize("kind", _KINDS)
def test_a_timeout_of_a_sensor_keeps_the_run(scenes: Scenes, kind: str) -> None:
    scene = scenes["sensor timeout", kind]

    assert scene.airflow.wait_for_dag_run(scene.dag_id, scene.dag_run_id) == "failed"

    (pid,) = scene.starts()
    assert is_running(pid)
    assert scene.run().status is RunStatus.RUNNING


@pytest.mark.parametrize("kind", _KINDS)
def test_marking_a_task_success_kills_its_run(scenes: Scenes, kind: str) -> None:
    scene = scenes["marked success", kind]
    scene.await_wait()

    scene.set_task_state("success")

    scene.require_killed()
    assert scene.run().status is RunStatus.CANCELED


@pytest.mark.parametrize("kind", _KINDS)
def test_clearing_a_task_kills_its_run_and_starts_another(scenes: Scenes, kind: str) -> None:
    scene = scenes["cleared", kind]
    scene.await_wait()
    (first,) = scene.starts()

    body = {"dry_run": False, "task_ids": ["train"], "dag_run_id": scene.dag_run_id}
    path = f"dags/{scene.dag_id}/clearTaskInstances"
    scene.airflow.api("POST", path, {**body, "only_failed": False})

    wait_for("a second start", lambda: len(scene.starts()) == 2)
    assert not is_running(first)
    assert [run.generation for run in runs_of(scene.history, scene.dag_run_id)] == [1, 2]


@pytest.mark.parametrize("kind", _KINDS)
def test_a_run_that_a_person_cancels_is_gone_and_fails_its_task(scenes: Scenes, kind: str) -> None:
    scene = scenes["canceled", kind]
    scene.await_wait()

    words = "from airflow_mltrain import Run, Workspace; import sys; "
    words += "Run.get(Workspace.from_config(), sys.argv[1]).cancel()"
    argv = [sys.executable, "-c", words, scene.run().run_id]
    subprocess.run(argv, env=scene.airflow.environment, check=True)

    scene.require_killed()
    assert scene.airflow.wait_for_dag_run(scene.dag_id, scene.dag_run_id) == "failed"
    assert scene.task()["try_number"] == 1


def test_a_drained_worker_that_may_not_defer_goes_on(scenes: Scenes) -> None:
    scene = scenes["drained", "on_worker"]
    scene.await_wait()

    os.kill(scene.task()["pid"], signal.SIGTERM)

    scene.require_adopted()
    assert scene.run().status is RunStatus.COMPLETED


def test_a_worker_killed_on_the_last_try_leaves_its_run(scenes: Scenes) -> None:
    scene = scenes["last try", "on_worker"]
    scene.await_wait()

    os.kill(scene.task()["pid"], signal.SIGKILL)

    assert scene.airflow.wait_for_dag_run(scene.dag_id, scene.dag_run_id) == "failed"
    (pid,) = scene.starts()
    assert is_running(pid)
    assert not scene.run().status.is_terminal


def test_a_trigger_that_moves_to_another_triggerer_keeps_its_run(scenes: Scenes) -> None:
    scene = scenes["moved", "deferred"]
    scene.await_wait()
    airflow = scene.airflow
    first = scene.triggerer()
    port = str(find_free_port())
    environment = {**airflow.environment, "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": port}
    second = subprocess.Popen(
        [Path(sys.executable).with_name("airflow"), "triggerer"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        path = "jobs?job_type=TriggererJob&is_alive=true"

        found: list[int] = []

        def others() -> list[int]:
            jobs = airflow.api("GET", path)["jobs"]
            found.extend(job["id"] for job in jobs if job["id"] != first)
            return found

        wait_for("the second triggerer", others)
        with psycopg.connect(scene.database_url) as database:
            database.execute(
                "UPDATE trigger SET triggerer_id = %s WHERE id = %s",
                [found[0], scene.task()["trigger"]["id"]],
            )
        scene.release()

        scene.require_adopted()
        assert scene.run().status is RunStatus.COMPLETED
    finally:
        os.killpg(second.pid, signal.SIGKILL)
        second.wait()


def test_a_restart_of_scheduler_and_triggerer_keeps_deferred_runs(scenes: Scenes) -> None:
    scene = scenes["restarted", "deferred"]
    scene.await_wait()
    first = scene.triggerer()

    for component in ("scheduler", "triggerer"):
        scene.airflow.kill(component)
        scene.airflow.start(component)
    wait_for("the next triggerer", lambda: scene.triggerer() not in (None, first))
    scene.release()

    scene.require_adopted()
    assert scene.run().status is RunStatus.COMPLETED
