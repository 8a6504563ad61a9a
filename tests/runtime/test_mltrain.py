"""`import mltrain` in a training script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mltrain.runtime.training import mltrain

_MODULES = Path(mltrain.__file__).parent


class Array:
    """What numpy's arrays and scalars look like to one who does not know numpy."""

    def __init__(self, value: object) -> None:
        self._value = value

    def tolist(self) -> object:
        return self._value


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


@pytest.fixture
def run(metrics: Path) -> mltrain.Run:
    return mltrain.Run("run-1", str(metrics))


def run_script(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A script's output, with our module in reach and nothing else of ours."""
    environment = {"PYTHONPATH": str(_MODULES), "PATH": os.environ["PATH"], **variables}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
    )


def read(metrics: Path) -> list[tuple[str, object]]:
    """Names and values, in the order they were logged."""
    messages = [json.loads(line) for line in metrics.read_text().splitlines() if line]
    return [(message["name"], message["value"]) for message in messages]


def test_a_number_logged_again_becomes_a_series(run: mltrain.Run, metrics: Path) -> None:
    run.log("loss", 0.5, step=1)
    run.log("loss", 0.25, step=2)

    assert read(metrics) == [("loss", 0.5), ("loss", 0.25)]


def test_lists_rows_and_tables_keep_their_form(run: mltrain.Run, metrics: Path) -> None:
    run.log_list("sizes", (1, 2, 3))
    run.log_row("point", x=1, y=2.5)
    run.log_table("curve", {"x": [1, 2], "y": [3, 4]})

    assert read(metrics) == [
        ("sizes", [1, 2, 3]),
        ("point", {"x": 1, "y": 2.5}),
        ("curve", {"x": [1, 2], "y": [3, 4]}),
    ]


def test_what_numpy_gives_is_logged_as_plain_values(run: mltrain.Run, metrics: Path) -> None:
    run.log("accuracy", Array(0.93))
    run.log_list("confusion", [Array([1, 2]), Array([3, 4])])

    assert read(metrics) == [("accuracy", 0.93), ("confusion", [[1, 2], [3, 4]])]


def test_a_tag_is_text(run: mltrain.Run, metrics: Path) -> None:
    run.tag("stage", 3)
    run.tag("done")

    assert read(metrics) == [("stage", "3"), ("done", None)]


def test_a_value_that_cannot_be_logged_is_refused_with_what_can(run: mltrain.Run) -> None:
    with pytest.raises(TypeError, match="cannot log object: give a number"):
        run.log("model", object())


def test_a_table_with_unequal_columns_is_refused(run: mltrain.Run) -> None:
    with pytest.raises(ValueError, match="columns of table 'curve' differ in length"):
        run.log_table("curve", {"x": [1, 2], "y": [3]})


def test_a_name_has_to_be_given(run: mltrain.Run) -> None:
    with pytest.raises(ValueError, match="a name must be a text that is not empty"):
        run.log("", 1)


def test_lines_of_threads_and_forked_processes_never_mix(metrics: Path) -> None:
    script = (
        "import mltrain, os, threading\nrun = mltrain.Run.get_context()\nrun.log('begin', 0)\n"
        "def work():\n    for n in range(200): run.log('x' * 3000, n)\n"
        "children = [os.fork() for _ in range(2)]\n"
        "threads = [threading.Thread(target=work) for _ in range(3)]\n"
        "[thread.start() for thread in threads]\n[thread.join() for thread in threads]\n"
        "[os.waitpid(child, 0) for child in children if all(children)]\n"
    )

    done = run_script(script, MLTRAIN_METRICS=str(metrics), MLTRAIN_RUN_ID="run-1")

    assert done.stderr == ""
    assert len(read(metrics)) == 1 + 4 * 3 * 200


def test_the_context_is_the_same_object_every_time(metrics: Path) -> None:
    script = (
        "from mltrain import Run\nassert Run.get_context() is Run.get_context()\n"
        "print(Run.get_context().id)"
    )

    done = run_script(script, MLTRAIN_METRICS=str(metrics), MLTRAIN_RUN_ID="run-1")

    assert done.stdout == "run-1\n"


def test_outside_of_a_run_values_are_printed() -> None:
    script = "import mltrain\nrun = mltrain.Run.get_context()\nrun.log('loss', 0.5)\nprint(run.id)"

    done = run_script(script)

    first, second = done.stdout.splitlines()
    assert first == "metric (offline): loss = 0.5"
    assert second.startswith("OfflineRun_")


def test_a_script_that_must_not_run_offline_is_told_so() -> None:
    done = run_script("import mltrain\nmltrain.Run.get_context(allow_offline=False)")

    assert done.returncode == 1
    assert "RuntimeError: this script was not submitted as a run" in done.stderr
