"""Functions of a Dag as training runs, by tasks that Airflow runs in one process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.decorators.function_project import FunctionProject, make_project
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.runs.status import RunStatus
from tests.services.artifacts import folder_store
from tests.services.dag_run import DagRun, dag_test

_DAGS = Path(__file__).parent / "dags"
pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@dataclass(frozen=True)
class Training:
    """The Dag run of `training.py`, and what its functions returned."""

    dag_run: DagRun
    returned: Any
    nothing: Any

    def log_of(self, task_id: str) -> str:
        """What the one run of a task wrote."""
        [run] = self.dag_run.runs(task_id)
        folder = folder_store(self.dag_run.workspace).run_folder(run.run_id)
        return (folder / "log").read_text()


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Training]:
    folder = tmp_path_factory.mktemp("training")
    note = folder / "note"
    with dag_test(_DAGS / "training.py", folder, NOTE=str(note)) as dag_run:
        yield Training(dag_run, *json.loads(note.read_text()))


@pytest.fixture
def dag_run(training: Training) -> DagRun:
    return training.dag_run


def test_what_functions_return_is_what_the_next_ones_get(training: Training) -> None:
    assert training.returned["best"] == {"rate": 0.25, "loss": 0.5}
    assert training.returned["word"] == "a 'b' \"c\" $d ü"
    assert training.returned["airflow"] is False
    assert training.nothing is None


def test_what_airflow_knows_is_given_to_who_asks_for_it(training: Training) -> None:
    [run] = training.dag_run.runs("pick_best")
    assert run.submission is not None
    assert training.returned["run_id"] == run.submission.dag_run_id


def test_a_function_of_a_module_travels_with_its_package(dag_run: DagRun) -> None:
    first, second = sorted(dag_run.runs("fit"), key=lambda run: str(run.submission))
    losses = [point.value for point in dag_run.workspace.history.get_metrics(first.run_id)]
    assert losses == [4.0, 2.0]
    assert first.snapshot_id == second.snapshot_id
    assert first.experiment == "fit"


def test_each_is_a_run_with_the_settings_of_its_decorator(dag_run: DagRun) -> None:
    [run] = dag_run.runs("pick_best")
    assert (run.experiment, run.tags, run.status) == (
        "best",
        {"team": "vision"},
        RunStatus.COMPLETED,
    )
    assert "Pausing task as DEFERRED" in dag_run.log


def test_what_a_function_would_miss_is_told_before_there_is_a_run(dag_run: DagRun) -> None:
    assert dag_run.attempts["use_what_does_not_travel"] == ["failed", 1]
    assert dag_run.runs("use_what_does_not_travel") == []
    assert "use_what_does_not_travel() uses RATES from its Dag's file" in dag_run.log


@pytest.mark.parametrize(
    ("task_id", "words"),
    [("return_what_is_no_data", "returned is no JSON data"), ("fail", "ValueError: too deep")],
)
def test_a_function_that_fails_is_a_failed_run_that_says_why(
    training: Training, task_id: str, words: str
) -> None:
    dag_run = training.dag_run
    [run] = dag_run.runs(task_id)
    assert (run.status, run.exit_code) == (RunStatus.FAILED, 1)
    assert dag_run.attempts[task_id][0] == "failed"
    assert words in training.log_of(task_id)


def test_the_same_function_is_laid_out_once(tmp_path: Path) -> None:
    # given
    project = FunctionProject("module", "function", {"a/b.py": b"one", "c.py": b"two"})

    # when
    folders = {project.lay_out(tmp_path), project.lay_out(tmp_path)}

    # then
    [folder] = folders
    assert (folder / "a" / "b.py").read_bytes() == b"one"
    assert [path for path in tmp_path.iterdir() if path.is_dir() and path != folder] == []


def test_what_was_not_laid_out_for_a_day_goes_and_what_was_again_stays(tmp_path: Path) -> None:
    # given
    used, unused, new = (FunctionProject("m", "f", {"f.py": one}) for one in (b"1", b"2", b"3"))
    folders = [used.lay_out(tmp_path), unused.lay_out(tmp_path), tmp_path / ".draft"]
    folders[-1].mkdir()
    for folder in folders:
        os.utime(folder, (0, time.time() - 25 * 3600))

    # when
    used.lay_out(tmp_path)
    new_folder = new.lay_out(tmp_path)

    # then
    assert {path for path in tmp_path.iterdir() if path.is_dir()} == {folders[0], new_folder}
    assert (folders[0] / "f.py").read_bytes() == b"1"


def test_the_lines_of_a_function_are_those_of_its_file() -> None:
    # given
    def told(rate: float = 1.0) -> str:
        import json  # noqa: F401, PLC0415 - a name of this file, too

        # a comment, and
        return f"""
  text that is not indented {rate}
# and no comment"""

    # when
    project = make_project(told, __file__)

    # then
    names: dict[str, Any] = {}
    exec(project.files["task_function.py"], names)  # noqa: S102 - the lines above
    assert (project.module, project.name) == ("task_function", "told")
    assert names["told"](2.0) == told(2.0)


def test_a_default_that_would_not_travel_is_told_too() -> None:
    # given
    rates = [0.5, 0.25]

    def fit(rate: float = rates[0], *, most: int = max(1, 2), note: str = _DAGS.name) -> Any:
        return rate, most, note

    def fit_well(rate: float = 0.5, *, key: Any = lambda one: one) -> Any:
        return key(rate)

    # when / then
    with pytest.raises(ConfigurationError, match=r"fit\(\) uses rates from its Dag's file"):
        make_project(fit, __file__)
    assert make_project(fit_well, __file__).name == "fit_well"
