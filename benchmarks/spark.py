"""Runs on a Spark cluster, beside SparkSubmitOperator, on a real standalone cluster.

`submit`: `execute()` to the first line of the script. `end`: end of a script that had a session to
its trigger's event. `environment`: a run whose environment is built and packed, and the next one.
`scale`: the example's cross validation with one worker, and with two.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_CLONE))

from benchmarks.measuring import (  # noqa: E402
    make_project,
    moment_in,
    open_workspace,
    show,
    task_context,
)
from tests.services.spark_cluster import SparkCluster  # noqa: E402

_TARGET = "cluster"
_NOTE_TIME = "import sys, time; open(sys.argv[1], 'w').write(str(time.time()))\n"
_SESSION = "from pyspark.sql import SparkSession; SparkSession.builder.getOrCreate().stop()\n"
_PACKAGES = ["numpy==2.2.6", "scikit-learn==1.7.2"]
_SCALE_ARGUMENTS = ["--folds", "2", "--trees", "40", "--depths", "8", "10"]


def main() -> None:
    """Run the measurements that are asked for, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=", ".join(_PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(_measure_submit(*arguments.measure))
        return
    with SparkCluster() as cluster, tempfile.TemporaryDirectory() as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
        os.environ["AIRFLOW_HOME"] = f"{folder}/airflow"
        os.environ["PATH"] = f"{cluster.home / 'bin'}:{os.environ['PATH']}"
        # Java as it comes, for both: what makes it begin sooner here would flatter the figures.
        variables = {"SPARK_LOCAL_IP": cluster.variables()["SPARK_LOCAL_IP"]}
        os.environ.update(variables)
        os.environ["SPARK_HOME"] = str(cluster.home)
        os.environ[f"AIRFLOW_CONN_{_TARGET.upper()}"] = cluster.connection_json(
            environment_variables=variables
        )
        for part in arguments.parts or _PARTS:
            print(f"--- {part}")
            (Path(folder) / part).mkdir()
            _PARTS[part](cluster, Path(folder) / part, arguments.rounds)


def _submit(_: SparkCluster, folder: Path, rounds: int) -> None:
    project = folder / "project"
    make_project(project)
    (project / "train.py").write_text(_NOTE_TIME)
    times: dict[str, list[float]] = {"SparkSubmitOperator": [], "ours": []}
    for number in range(rounds + 1):
        for operator, measured in times.items():
            mark = folder / f"first-{operator}-{number}"
            command = [sys.executable, __file__, "--measure", operator, str(mark)]
            answer = subprocess.run(command, cwd=project, check=True, stdout=subprocess.PIPE)
            if number:  # the first round makes the database and the bytecode
                measured.append(float(answer.stdout.split()[-1]))
    show("execute() to the first line", times, "ours", "SparkSubmitOperator", "at most 1.15")


def _measure_submit(operator: str, mark: str) -> float:
    from airflow.providers.apache.spark.operators.spark_submit import (  # noqa: PLC0415
        SparkSubmitOperator,
    )

    from airflow_mltrain import ScriptRunConfig  # noqa: PLC0415
    from airflow_mltrain.operators.submit_training_run import (  # noqa: PLC0415
        SubmitTrainingRunOperator,
    )

    task: Any
    if operator == "ours":
        task = SubmitTrainingRunOperator(
            task_id="train",
            experiment="benchmark",
            config=ScriptRunConfig(Path.cwd(), "train.py", [mark], compute_target=_TARGET),
            wait_for_completion=True,
            deferrable=False,
        )
    else:
        task = SparkSubmitOperator(  # noqa: AIR001
            task_id="train", conn_id=_TARGET, application="train.py", application_args=[mark]
        )
    with contextlib.redirect_stdout(io.StringIO()):
        began = time.time()
        task.execute(task_context())
    return moment_in(mark) - began


def _end(_: SparkCluster, folder: Path, rounds: int) -> None:
    from airflow_mltrain import ScriptRunConfig, submission  # noqa: PLC0415
    from airflow_mltrain.triggers.training_run import TrainingRunTrigger  # noqa: PLC0415

    workspace = open_workspace()
    measured = []
    (folder / "train.py").write_text(_SESSION + _NOTE_TIME)

    async def measure(number: int) -> None:
        mark = folder / f"ended-{number}"
        config = ScriptRunConfig(folder, "train.py", [str(mark)], compute_target=_TARGET)
        record = await asyncio.to_thread(submission.submit, workspace, "end", config)
        trigger = TrainingRunTrigger(_TARGET, record.run_id, f"r{number}", is_owner=True)
        async for _ in trigger.run():
            break
        measured.append(time.time() - moment_in(mark))

    with contextlib.redirect_stdout(io.StringIO()):
        for number in range(rounds):
            asyncio.run(measure(number))
    times = {"ours": measured, "to reach": [0.5]}
    show("end of the script to the event", times, "ours", "to reach", "under 0.5 s")


def _environment(_: SparkCluster, folder: Path, __: int) -> None:
    from airflow_mltrain import Environment, Experiment, ScriptRunConfig  # noqa: PLC0415

    (folder / "train.py").write_text(_NOTE_TIME)
    environment = Environment("benchmark")
    environment.python.packages = _PACKAGES
    for name in ("built and packed", "cached"):
        mark = folder / name
        config = ScriptRunConfig(
            folder, "train.py", [str(mark)], compute_target=_TARGET, environment=environment
        )
        began = time.time()
        run = Experiment(open_workspace(), "environment").submit(config)
        run.wait_for_completion(show_output=True)
        print(f"{name}: {moment_in(mark) - began:.2f} s to the first line")


def _scale(cluster: SparkCluster, _: Path, rounds: int) -> None:
    from airflow_mltrain import Environment, Experiment, ScriptRunConfig  # noqa: PLC0415

    environment = Environment("digits")
    environment.python.packages = _PACKAGES
    environment.spark.configuration = {"spark.sql.shuffle.partitions": "4"}
    config = ScriptRunConfig(
        _CLONE / "dags" / "training",
        "train_digits_on_spark.py",
        _SCALE_ARGUMENTS,
        compute_target=_TARGET,
        environment=environment,
    )
    config.run_config.spark.executor_memory = "800m"
    times: dict[str, list[float]] = {}
    cluster.kill(cluster.workers[1])
    cluster.await_workers(1)
    for name in ("one worker", "two workers"):
        if name == "two workers":
            cluster.start_worker()
        for _round in range(min(rounds, 2)):
            run = Experiment(open_workspace(), "scale").submit(config)
            run.wait_for_completion()
            seconds = run.get_metrics()["cross_validation_seconds"]
            times.setdefault(name, []).append(float(seconds))
            print(json.dumps({name: seconds}), flush=True)
    show("cross validation", times, "two workers", "one worker", "less")


_PARTS = {"submit": _submit, "end": _end, "environment": _environment, "scale": _scale}

if __name__ == "__main__":
    main()
