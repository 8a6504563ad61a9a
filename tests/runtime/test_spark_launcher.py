"""What the job agent makes of a driver: its command, its progress, its failure."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.runtime.job_agent.spark.application import Work
from airflow_mltrain.runtime.job_agent.spark.cluster import Cluster, in_mebibytes
from airflow_mltrain.runtime.job_agent.spark.command import LaunchError, Scratch, make_launch
from airflow_mltrain.runtime.job_agent.spark.diagnosis import diagnose, last_words
from airflow_mltrain.runtime.job_agent.spark.watch import describe
from scripts.free_port import find_free_port

_NOWHERE = Cluster("yarn", None)


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    folder = JobFolder(str(tmp_path / "root"), "run-1")
    (tmp_path / "root/runs/run-1/code/package").mkdir(parents=True)
    (tmp_path / "root/runs/run-1/code/outputs").mkdir()
    return folder


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    home = tmp_path / "spark"
    (home / "bin").mkdir(parents=True)
    (home / "conf").mkdir()
    (home / "bin" / "spark-submit").write_text("#!/bin/sh\n")
    (home / "bin" / "spark-submit").chmod(0o755)
    (tmp_path / "training").mkdir()
    monkeypatch.setenv("SPARK_HOME", str(home))
    monkeypatch.delenv("SPARK_CONF_DIR", raising=False)
    told = {
        "command": ["spark-submit", "--master", "spark://m:7077"],
        "default_python": "python3",
        "run_id": "run-1",
        "master": "spark://m:7077",
    }
    return {
        "spark": told,
        "argv": ["python3", "train.py", "two words", "\n"],
        "training_modules": str(tmp_path / "training"),
    }


def _launch(folder: JobFolder, spec: dict[str, Any]) -> Any:
    secrets = {"properties": {"spark.a": "ours"}, "keytab": None}
    return make_launch(folder, spec, secrets, None, Scratch(folder))


def test_words_of_the_script_are_in_a_file_and_not_in_the_command(
    folder: JobFolder, spec: dict[str, Any]
) -> None:
    launch = _launch(folder, spec)

    assert "two words" not in launch.argv
    with open(launch.words, "rb") as file:  # noqa: PTH123 - as the agent does
        assert file.read().split(b"\0") == [b"train.py", b"two words", b"\n"]


def test_properties_of_the_machine_stay_unless_the_run_has_others(
    folder: JobFolder, spec: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "spark/conf/spark-defaults.conf").write_text(
        "# ours\n\nspark.a  theirs\nspark.b=kept here\nspark.c: too\n"
    )

    launch = _launch(folder, spec)

    assert launch.properties["spark.a"] == "ours"
    assert launch.properties["spark.b"] == "kept here"
    assert launch.properties["spark.c"] == "too"


def test_modules_and_all_of_packages_go_to_executors_and_outputs_do_not(
    folder: JobFolder, spec: dict[str, Any], tmp_path: Path
) -> None:
    code = tmp_path / "root/runs/run-1/code"
    for name in ("train.py", "package/__init__.py", "package/words.txt", "data.csv"):
        (code / name).write_text("")
    (code / "outputs/old.py").write_text("")
    (tmp_path / "training/mltrain/run").mkdir(parents=True)
    (tmp_path / "training/mltrain/run/log.py").write_text("")

    launch = _launch(folder, spec)

    path = launch.variables["SPARK_SUBMIT_OPTS"].rpartition("=")[2]
    with zipfile.ZipFile(path) as found:
        names = sorted(found.namelist())
    modules = ["mltrain/", "mltrain/run/", "mltrain/run/log.py"]
    assert names == [*modules, "package/__init__.py", "package/words.txt", "train.py"]


def test_settings_of_spark_that_cannot_be_read_are_not_passed_over(
    folder: JobFolder, spec: dict[str, Any]
) -> None:
    path = Path(os.environ["SPARK_HOME"], "conf/spark-defaults.conf")
    path.write_bytes(b"spark.a \xff\n")

    with pytest.raises(LaunchError, match="cannot be read") as refusal:
        _launch(folder, spec)

    assert str(path) in str(refusal.value)


def test_modules_are_an_argument_where_files_of_the_users_are_sent_too(
    folder: JobFolder, spec: dict[str, Any]
) -> None:
    Path(os.environ["SPARK_HOME"], "conf/spark-defaults.conf").write_text("spark.files /f\n")

    launch = _launch(folder, spec)

    path = launch.argv[launch.argv.index("--py-files") + 1]
    assert zipfile.is_zipfile(path)
    assert "SPARK_SUBMIT_OPTS" not in launch.variables


def test_an_interpreter_that_is_named_is_the_executors_too(
    folder: JobFolder, spec: dict[str, Any]
) -> None:
    spec["argv"][0] = "/opt/conda/bin/python"

    variables = _launch(folder, spec).variables

    assert variables["PYSPARK_PYTHON"] == variables["PYSPARK_DRIVER_PYTHON"]
    assert variables["PYSPARK_PYTHON"] == "/opt/conda/bin/python"


def test_a_missing_spark_is_an_error_of_its_own(
    folder: JobFolder, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARK_HOME", "/opt/none")

    with pytest.raises(LaunchError, match="/opt/none"):
        _launch(folder, spec)


def test_progress_says_what_runs_and_what_is_done() -> None:
    job = {
        "jobId": 7,
        "name": "fit at train.py:3",
        "numTasks": 24,
        "numCompletedTasks": 10,
        "numSkippedTasks": 2,
        "numCompletedStages": 1,
        "numSkippedStages": 0,
        "stageIds": [1, 2, 3],
    }

    words = describe(Work(executors=2, cores=8, tasks_done=100, jobs=[job]))

    assert words == (
        "Spark job 7 (fit at train.py:3): 12 of 24 tasks, 1 of 3 stages; "
        "100 tasks done in all, 2 executors with 8 cores"
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "[PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.11 than 3.9",
            "(3.11, 3.9)",
        ),
        ('Cannot run program "./environment/bin/python": error=2', "built on has to be on every"),
        ('Cannot run program "python3.9": error=2, No such file', "cannot start python3.9"),
        (
            "java.io.InvalidClassException: org.apache.spark.x; local class incompatible",
            "another version than the cluster's",
        ),
        (
            "java.lang.RuntimeException: [unresolved dependency: org.a#b;1.0: not found]",
            "(org.a#b;1.0)",
        ),
        (
            "ERROR Backend: Application has been killed. Reason: Master removed it: FAILED",
            "its master ended the application",
        ),
    ],
)
def test_what_spark_said_becomes_a_reason(said: str, words: str) -> None:
    assert words in str(diagnose(said, _NOWHERE, None))


def test_a_fault_of_the_script_is_nobody_elses() -> None:
    assert diagnose("26/11/25 07:00:46 INFO Driver: x", _NOWHERE, None) is None


def test_a_master_that_refuses_connections_is_named() -> None:
    port = find_free_port()
    cluster = Cluster(f"spark://127.0.0.1:{port}", None)

    reason = str(diagnose("All masters are unresponsive! Giving up.", cluster, "4.2.0"))

    assert f"the master does not answer (127.0.0.1:{port}: " in reason


def test_last_words_are_those_that_matter() -> None:
    log = "26/11/25 07:00:46 INFO A: x\n26/11/25 07:00:46 ERROR B: y\n\tat c\n"

    assert last_words(log) == ["26/11/25 07:00:46 ERROR B: y", "\tat c"]


@pytest.mark.parametrize(("size", "expected"), [("1g", 1024), ("512", 512), ("2T", 2**21)])
def test_sizes_are_read_as_spark_does(size: str, expected: float) -> None:
    assert in_mebibytes(size) == expected
