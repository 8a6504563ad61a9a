"""What a Dag author sees, through a real scheduler and triggerer."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.runs.history import RunHistory
from airflow_mltrain.runs.status import RunStatus
from scripts.airflow_stack import AirflowStack
from tests.end_to_end.conftest import runs_of, wait_for

pytestmark = [pytest.mark.airflow, pytest.mark.postgres, pytest.mark.slow]


def _lines(log: str, count: int) -> list[int]:
    return [int(number) for number in re.findall(rf"line (\d+) of {count}\b", log)]


def _is_gone(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def _starts(diary: Path) -> list[int]:
    return [int(pid) for pid in diary.read_text().split()] if diary.exists() else []


def _is_deferred(airflow: AirflowStack, dag_id: str, dag_run_id: str) -> bool:
    """Whether the task is deferred and a triggerer has its trigger."""
    is_deferred = airflow.task_instance(dag_id, dag_run_id, "train")["state"] == "deferred"
    return is_deferred and _triggerer(airflow, dag_id, dag_run_id) is not None


def _triggerer(airflow: AirflowStack, dag_id: str, dag_run_id: str) -> int | None:
    """The triggerer that has the trigger of the task."""
    job = airflow.task_instance(dag_id, dag_run_id, "train")["triggerer_job"]
    return None if job is None else int(job["id"])


def _is_at_work(airflow: AirflowStack, dag_id: str, dag_run_id: str, try_number: int) -> bool:
    task = airflow.task_instance(dag_id, dag_run_id, "train")
    return bool(task["state"] == "running" and task["try_number"] == try_number)


def _task_process(airflow: AirflowStack, dag_id: str, dag_run_id: str) -> int:
    return int(airflow.task_instance(dag_id, dag_run_id, "train")["pid"])


def _mark_failed(airflow: AirflowStack, dag_id: str, dag_run_id: str, task_id: str) -> None:
    path = f"dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"
    airflow.api("PATCH", path, {"new_state": "failed"})


@pytest.mark.parametrize("dag_id", ["submit_and_wait", "submit_and_poke"])
def test_a_sensor_returns_status_metrics_and_outputs(airflow: AirflowStack, dag_id: str) -> None:
    dag_run_id = airflow.trigger(dag_id, {"lines": 3})

    assert airflow.wait_for_dag_run(dag_id, dag_run_id) == "success"

    result = airflow.xcom(dag_id, dag_run_id, "wait")
    assert result["run_id"] == airflow.xcom(dag_id, dag_run_id, "submit")
    assert result["status"] == "Completed"
    assert result["metrics"] == {"number": [0, 1, 2]}
    outputs = Path(result["outputs"].removeprefix("file://"))
    assert (outputs / "counted.txt").read_text() == "3"


def test_both_tasks_link_to_the_page_of_the_run(airflow: AirflowStack) -> None:
    dag_run_id = airflow.trigger("submit_and_wait")
    assert airflow.wait_for_dag_run("submit_and_wait", dag_run_id) == "success"
    run_id = airflow.xcom("submit_and_wait", dag_run_id, "submit")

    links = [
        airflow.api(
            "GET", f"dags/submit_and_wait/dagRuns/{dag_run_id}/taskInstances/{task_id}/links"
        )["extra_links"]["Training run"]
        for task_id in ("submit", "wait")
    ]

    assert links == [f"{airflow.url}/mltrain/runs/{run_id}"] * 2


def test_arguments_are_rendered_inside_the_config(airflow: AirflowStack) -> None:
    dag_run_id = airflow.trigger("submit_and_wait", {"lines": 2})

    assert airflow.wait_for_dag_run("submit_and_wait", dag_run_id) == "success"

    log = airflow.task_log("submit_and_wait", dag_run_id, "wait")
    assert "submit of submit_and_wait" in log


def test_the_whole_log_reaches_the_task_log_across_a_deferral(
    airflow: AirflowStack, history: RunHistory, release: Path
) -> None:
    conf = {"lines": 200, "seconds": 6, "release": str(release)}
    dag_run_id = airflow.trigger("wait_in_one", conf)

    wait_for("deferral", lambda: _is_deferred(airflow, "wait_in_one", dag_run_id))
    wait_for(
        "the last line while deferred",
        lambda: 199 in _lines(airflow.task_log("wait_in_one", dag_run_id, "train"), 200),
    )
    assert _is_deferred(airflow, "wait_in_one", dag_run_id)
    release.touch()
    assert airflow.wait_for_dag_run("wait_in_one", dag_run_id) == "success"

    log = airflow.task_log("wait_in_one", dag_run_id, "train")
    assert _lines(log, 200) == list(range(200))
    assert log.count("the last word") == 1
    assert len(runs_of(history, dag_run_id)) == 1


def test_a_failed_run_fails_the_task_and_a_retry_is_a_new_run(
    airflow: AirflowStack, history: RunHistory
) -> None:
    dag_run_id = airflow.trigger("wait_in_one", {"exit_code": 3})

    assert airflow.wait_for_dag_run("wait_in_one", dag_run_id) == "failed"

    log = airflow.task_log("wait_in_one", dag_run_id, "train", try_number=1)
    assert "failed on local: exit code 3" in log
    assert "The end of its log" in log
    runs = runs_of(history, dag_run_id)
    assert [(run.generation, run.status, run.exit_code) for run in runs] == [
        (1, RunStatus.FAILED, 3),
        (2, RunStatus.FAILED, 3),
    ]


@pytest.mark.parametrize("dag_id", ["wait_in_one", "wait_on_worker"])
def test_marking_a_task_failed_cancels_its_run(
    airflow: AirflowStack, history: RunHistory, diary: Path, dag_id: str
) -> None:
    conf = {"lines": 1000, "seconds": 300, "diary": str(diary)}
    dag_run_id = airflow.trigger(dag_id, conf)
    if dag_id == "wait_in_one":
        wait_for("deferral", lambda: _is_deferred(airflow, dag_id, dag_run_id))
    wait_for("start", lambda: _starts(diary))

    _mark_failed(airflow, dag_id, dag_run_id, "train")

    [pid] = _starts(diary)
    wait_for("the end of the script", lambda: _is_gone(pid))
    wait_for(
        "the end of the run",
        lambda: runs_of(history, dag_run_id)[0].status is RunStatus.CANCELED,
    )
    assert airflow.wait_for_dag_run(dag_id, dag_run_id) == "failed"
    assert len(runs_of(history, dag_run_id)) == 1


def test_a_retry_after_a_killed_worker_adopts_the_run(
    airflow: AirflowStack, history: RunHistory, diary: Path, release: Path
) -> None:
    conf = {"lines": 100, "seconds": 5, "diary": str(diary), "release": str(release)}
    dag_run_id = airflow.trigger("wait_on_worker", conf)
    wait_for("start", lambda: _starts(diary))
    wait_for(
        "a line", lambda: "line 3 of" in airflow.task_log("wait_on_worker", dag_run_id, "train")
    )

    os.kill(_task_process(airflow, "wait_on_worker", dag_run_id), signal.SIGKILL)
    wait_for("the retry", lambda: _is_at_work(airflow, "wait_on_worker", dag_run_id, 2))
    release.touch()

    assert airflow.wait_for_dag_run("wait_on_worker", dag_run_id) == "success"
    assert airflow.task_instance("wait_on_worker", dag_run_id, "train")["try_number"] == 2
    assert len(_starts(diary)) == 1
    [run] = runs_of(history, dag_run_id)
    assert run.status is RunStatus.COMPLETED
    log = airflow.task_log("wait_on_worker", dag_run_id, "train", try_number=2)
    assert _lines(log, 100) == list(range(100))


def test_clearing_a_finished_task_runs_it_again(
    airflow: AirflowStack, history: RunHistory, diary: Path
) -> None:
    dag_run_id = airflow.trigger("wait_in_one", {"diary": str(diary)})
    assert airflow.wait_for_dag_run("wait_in_one", dag_run_id) == "success"

    body = {"dry_run": False, "task_ids": ["train"], "dag_run_id": dag_run_id}
    body |= {"only_failed": False, "reset_dag_runs": True}
    airflow.api("POST", "dags/wait_in_one/clearTaskInstances", body)

    wait_for("a second start", lambda: len(_starts(diary)) == 2)
    assert airflow.wait_for_dag_run("wait_in_one", dag_run_id) == "success"
    assert [run.generation for run in runs_of(history, dag_run_id)] == [1, 2]


def test_clearing_a_deferred_task_ends_its_run_and_starts_another(
    airflow: AirflowStack, history: RunHistory, diary: Path
) -> None:
    conf = {"lines": 50, "seconds": 20, "diary": str(diary)}
    dag_run_id = airflow.trigger("wait_in_one", conf)
    wait_for("deferral", lambda: _is_deferred(airflow, "wait_in_one", dag_run_id))
    wait_for("start", lambda: _starts(diary))

    body = {"dry_run": False, "task_ids": ["train"], "dag_run_id": dag_run_id}
    airflow.api("POST", "dags/wait_in_one/clearTaskInstances", {**body, "only_failed": False})

    wait_for("a second start", lambda: len(_starts(diary)) == 2)
    first, _second = _starts(diary)
    assert _is_gone(first)
    assert airflow.wait_for_dag_run("wait_in_one", dag_run_id) == "success"
    assert [run.status for run in runs_of(history, dag_run_id)] == [
        RunStatus.CANCELED,
        RunStatus.COMPLETED,
    ]


def test_a_killed_triggerer_changes_nothing_for_the_run(
    airflow: AirflowStack, history: RunHistory, diary: Path, release: Path
) -> None:
    conf = {"lines": 100, "seconds": 5, "diary": str(diary), "release": str(release)}
    dag_run_id = airflow.trigger("wait_in_one", conf)
    wait_for("deferral", lambda: _is_deferred(airflow, "wait_in_one", dag_run_id))
    first = _triggerer(airflow, "wait_in_one", dag_run_id)

    airflow.kill("triggerer")
    airflow.start("triggerer")
    wait_for(
        "the next triggerer",
        lambda: _triggerer(airflow, "wait_in_one", dag_run_id) not in (None, first),
    )
    release.touch()

    assert airflow.wait_for_dag_run("wait_in_one", dag_run_id) == "success"
    assert len(_starts(diary)) == 1
    [run] = runs_of(history, dag_run_id)
    assert run.status is RunStatus.COMPLETED


def test_a_worker_that_is_drained_hands_its_run_over(
    airflow: AirflowStack, history: RunHistory, diary: Path, release: Path
) -> None:
    conf = {"lines": 100, "seconds": 5, "diary": str(diary), "release": str(release)}
    dag_run_id = airflow.trigger("wait_in_one", conf)
    wait_for("start", lambda: _starts(diary))

    os.kill(_task_process(airflow, "wait_in_one", dag_run_id), signal.SIGTERM)
    wait_for("the handover", lambda: _is_deferred(airflow, "wait_in_one", dag_run_id))
    release.touch()

    assert airflow.wait_for_dag_run("wait_in_one", dag_run_id) == "success"
    assert len(_starts(diary)) == 1
    [run] = runs_of(history, dag_run_id)
    assert run.status is RunStatus.COMPLETED


def test_an_execution_timeout_cancels_the_run_while_deferred(
    airflow: AirflowStack, history: RunHistory, diary: Path
) -> None:
    conf = {"lines": 1000, "seconds": 300, "diary": str(diary)}
    dag_run_id = airflow.trigger("time_out", conf)

    assert airflow.wait_for_dag_run("time_out", dag_run_id) == "failed"

    [pid] = _starts(diary)
    assert _is_gone(pid)
    [run] = runs_of(history, dag_run_id)
    assert run.status is RunStatus.CANCELED


def test_thirty_parallel_short_runs_all_succeed(
    airflow: AirflowStack, history: RunHistory
) -> None:
    dag_run_id = airflow.trigger("fan_out")

    assert airflow.wait_for_dag_run("fan_out", dag_run_id) == "success"

    runs = runs_of(history, dag_run_id)
    assert len(runs) == 30
    assert {run.status for run in runs} == {RunStatus.COMPLETED}
    assert {run.tags["number"] for run in runs} == {str(number) for number in range(30)}
    tries = [
        airflow.task_instance("fan_out", dag_run_id, "train", number)["try_number"]
        for number in range(30)
    ]
    assert tries == [1] * 30


def test_mapped_tasks_render_their_configs(airflow: AirflowStack, history: RunHistory) -> None:
    dag_run_id = airflow.trigger("expand_configs")

    assert airflow.wait_for_dag_run("expand_configs", dag_run_id) == "success"

    said: list[Any] = [run.config["arguments"] for run in runs_of(history, dag_run_id)]
    assert sorted(said) == [
        ["--lines", 1, "--say", "0 mapped"],
        ["--lines", 2, "--say", "1 mapped"],
    ]
