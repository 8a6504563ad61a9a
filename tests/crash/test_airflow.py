"""Kills in a real Airflow on PostgreSQL: its scheduler, triggerer and tasks, while runs go on."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts.airflow_stack import AirflowStack
from tests.crash.dags.endure import COUNT, SECONDS
from tests.crash.ground import Ground
from tests.crash.script import SCRIPT, Story
from tests.crash.verdict import Evidence, Table, Verdict, judge
from tests.services.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.services.postgresql import PostgresqlServer

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.slow]

_DAGS = Path(__file__).parent / "dags"
_KINDS = ("deferred", "on_worker")
_STORY = Story(SECONDS)
_BETWEEN_SECONDS = 2.0
_LOOK_SECONDS = 0.2
# A scheduler's orphans keep its connections open; without this, also the locks of its last moment.
_LOCKS_END = "&options=-c%20idle_in_transaction_session_timeout%3D15s"


@pytest.fixture
def ground(tmp_path: Path, postgresql: PostgresqlServer) -> Ground:
    ground = Ground("airflow", tmp_path, postgresql.create_database())
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(SCRIPT)
    return ground


@pytest.fixture
def airflow(ground: Ground, postgresql: PostgresqlServer) -> Iterator[AirflowStack]:
    url = postgresql.create_database() + _LOCKS_END
    settings = {
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__MLTRAIN__DATABASE": f"{ground.database_url}&application_name=mltrain",
        "AIRFLOW__MLTRAIN__ARTIFACTS": str(ground.folder / "artifacts"),
        "AIRFLOW__MLTRAIN__LOCAL_ROOT": str(ground.local_root),
        "AIRFLOW__MLTRAIN__DEFER_AFTER_SECONDS": "1",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "6",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    }
    with AirflowStack(ground.folder / "airflow", _DAGS, settings, url) as stack:
        yield stack
        stack.kill_all()


class Assailant:
    """Strikes at whatever of an Airflow's there is to be struck, as soon as there is any."""

    def __init__(self, airflow: AirflowStack, ground: Ground) -> None:
        self._airflow = airflow
        self._ground = ground
        self._strikes: dict[str, Callable[[], bool]] = {
            "task, SIGKILL": lambda: self._signal_task(signal.SIGKILL),
            "task, SIGTERM": lambda: self._signal_task(signal.SIGTERM),
            "triggerer, SIGKILL": lambda: self._replace("triggerer", signal.SIGKILL),
            "triggerer, SIGTERM": lambda: self._replace("triggerer", signal.SIGTERM),
            "scheduler, SIGKILL": lambda: self._replace("scheduler", signal.SIGKILL),
            "PostgreSQL connection": lambda: ground.cut_history("mltrain") > 0,
        }

    def strike(self, name: str) -> None:
        """Return once it has hit somebody."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._strikes[name]():
            assert time.monotonic() < deadline, f"there is nobody to hit: {name}"
            time.sleep(_LOOK_SECONDS)

    def _signal_task(self, number: int) -> bool:
        """One of those that Airflow says are running."""
        path = "dags/~/dagRuns/~/taskInstances?state=running"
        running = self._airflow.api("GET", path)["task_instances"]
        pids = [one["pid"] for one in running if one["pid"]]
        if pids:
            with suppress(ProcessLookupError):
                os.kill(random.choice(pids), number)  # noqa: S311
                return True
        return False

    def _replace(self, component: str, number: int) -> bool:
        """End a component, and begin its successor at once; a scheduler's tasks become orphans."""
        os.kill(self._airflow.pid(component), number)
        if number == signal.SIGTERM:
            time.sleep(1.0)
        self._airflow.kill(component, spares_tasks=True)
        self._airflow.start(component)
        return True


def test_strikes_at_a_real_airflow_double_or_lose_nothing(
    airflow: AirflowStack, ground: Ground, record_property: Callable[[str, object], None]
) -> None:
    # given
    diaries = ground.diary("none").parent
    release = ground.folder / "release"
    conf = {
        "project": str(ground.folder / "project"),
        "diaries": str(diaries),
        "release": str(release),
    }
    dag_runs = {kind: airflow.trigger(f"endure_{kind}", conf) for kind in _KINDS}
    assailant = Assailant(airflow, ground)
    order = [
        *("task, SIGKILL", "triggerer, SIGKILL", "PostgreSQL connection", "task, SIGTERM"),
        *("task, SIGKILL", "scheduler, SIGKILL", "triggerer, SIGTERM", "task, SIGKILL"),
        *("PostgreSQL connection", "task, SIGTERM", "triggerer, SIGKILL", "task, SIGKILL"),
    ]

    # when
    for name in order:
        time.sleep(_BETWEEN_SECONDS)
        assailant.strike(name)
    release.touch()
    for kind, dag_run_id in dag_runs.items():
        airflow.wait_for_dag_run(f"endure_{kind}", dag_run_id)

    # then
    found = Verdict()  # of all tasks, for every strike may have hit any of them
    for kind, dag_run_id in dag_runs.items():
        for number in range(COUNT):
            task = airflow.task_instance(f"endure_{kind}", dag_run_id, "train", number)
            end = "done" if task["state"] == "success" else task["state"]
            runs = ground.runs_of(f"{kind}-{number}")
            value = runs[-1].run_id if runs else None
            diary = ground.diary(f"{kind}-{number}")
            evidence = Evidence(
                _STORY, runs, diary, ground.workspace, end, value, is_job_struck=False
            )
            verdict = judge(evidence)
            found.counts += verdict.counts
            found.words += verdict.words
    table = Table()
    table.add("airflow", order, found)
    record_property("table", str(table))
    assert found.words == []
