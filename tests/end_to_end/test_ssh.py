"""Runs on an SSH host, through a real scheduler and triggerer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from tests.end_to_end.conftest import runs_of, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.runs.history import RunHistory
    from scripts.airflow_stack import AirflowStack
    from tests.services.ssh_host import SshHost

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.slow]

_DAG = "wait_for_host"


def _defer(airflow: AirflowStack, seconds: float, diary: Path) -> str:
    """A Dag run whose task is deferred while its run goes on."""
    conf = {"lines": 40, "seconds": seconds, "diary": str(diary)}
    dag_run_id = airflow.trigger(_DAG, conf)

    def is_deferred() -> bool:
        task = airflow.task_instance(_DAG, dag_run_id, "train")
        return task["state"] == "deferred" and task["triggerer_job"] is not None

    wait_for("the deferral", is_deferred)
    return dag_run_id


@pytest.fixture
def diary(gpu_box: SshHost) -> Path:
    """A file on the host, where every start of the script is noted."""
    return gpu_box.make_shared_folder() / "diary"


def test_the_log_of_a_run_is_whole_though_sshd_and_triggerer_were_killed(
    airflow: AirflowStack, gpu_box: SshHost, diary: Path
) -> None:
    # given
    dag_run_id = _defer(airflow, 20, diary)

    # when
    gpu_box.kill_sshd()
    airflow.kill("triggerer")
    gpu_box.start_sshd()
    airflow.start("triggerer")

    # then
    assert airflow.wait_for_dag_run(_DAG, dag_run_id) == "success"
    log = airflow.task_log(_DAG, dag_run_id, "train")
    numbers = [int(number) for number in re.findall(r"line (\d+) of 40\b", log)]
    assert sorted(set(numbers)) == list(range(40))
    assert len(diary.read_text().split()) == 1


def test_marking_a_task_failed_ends_the_script_on_the_host(
    airflow: AirflowStack, history: RunHistory, gpu_box: SshHost, diary: Path
) -> None:
    # given
    dag_run_id = _defer(airflow, 1000, diary)

    # when
    path = f"dags/{_DAG}/dagRuns/{dag_run_id}/taskInstances/train"
    airflow.api("PATCH", path, {"new_state": "failed"})

    # then
    wait_for(
        "the end of the run",
        lambda: [run.status for run in runs_of(history, dag_run_id)] == [RunStatus.CANCELED],
    )
    assert gpu_box.run("pgrep -f '[c]ount.py'; true") == ""


def test_the_example_trains_on_the_host_in_an_environment_built_there(
    airflow: AirflowStack, gpu_box: SshHost, history: RunHistory
) -> None:
    # given
    built_before = {*gpu_box.home.glob(".mltrain/envs/*.json")}

    # when
    dag_run_id = airflow.trigger("retrain_on_ssh")
    state = airflow.wait_for_dag_run("retrain_on_ssh", dag_run_id)

    # then
    assert state == "success"
    runs = runs_of(history, dag_run_id)
    assert [run.status for run in runs] == [RunStatus.COMPLETED] * 4
    assert len({run.environment_key for run in runs}) == 1
    assert len({*gpu_box.home.glob(".mltrain/envs/*.json")} - built_before) == 1
    assert [*gpu_box.home.glob(".mltrain/tools/uv-*")]  # the host had none
    best = airflow.xcom("retrain_on_ssh", dag_run_id, "choose")
    assert best["run_id"] in {run.run_id for run in runs}
