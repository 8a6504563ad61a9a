"""A user's kill to the end of every process of a run, on every target, beside Airflow's operators.

The script leaves a process that has gone off on its own, and one that does not hear SIGTERM. Ours
have a grace period, which is taken off; what still runs when the patience for it is over is said
to. It makes an SSH host, a Docker engine and a Spark cluster, and so needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CLONE = Path(__file__).resolve().parents[1]
sys.path[0] = str(_CLONE)  # in place of the folder in which docker.py is called as a library is

from benchmarks.measuring import open_workspace, task_context  # noqa: E402
from tests.services.docker_engine import DockerEngine  # noqa: E402
from tests.services.docker_image import python_image  # noqa: E402
from tests.services.spark_cluster import SparkCluster  # noqa: E402
from tests.services.ssh_host import SshHost  # noqa: E402

_GRACE_SECONDS = 2.0
_PATIENCE_SECONDS = 20.0
_START_SECONDS = 90.0
_CHILDREN = 2
_IMAGE = "mltrain-test/python:3"
_TREE = """
import os, signal, subprocess, sys, time
word = sys.argv[1] + "-child"
sleep = [sys.executable, "-c", "import time; time.sleep(600)", word]
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen(sleep, start_new_session=True)
subprocess.Popen([sys.executable, "-c", deaf, word])
print("began", flush=True)
time.sleep(600)
"""
_SPARK_TREE = "from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate()\n" + _TREE


def main() -> None:
    """Measure the targets that are asked for, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help=", ".join(_GROUNDS))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["AIRFLOW_HOME"] = f"{folder}/airflow"
        os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
        os.environ["AIRFLOW__MLTRAIN__CANCEL_GRACE_SECONDS"] = str(_GRACE_SECONDS)
        for name in ("PYTHONDONTWRITEBYTECODE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            os.environ.pop(name, None)
        print("seconds from the kill to the end of all; ours without the grace, to reach: 5")
        for target in arguments.targets or _GROUNDS:
            own = Path(folder) / target
            own.mkdir()
            _GROUNDS[target](own, arguments.rounds)


def _on_this_machine(folder: Path, rounds: int) -> None:
    from airflow.providers.standard.operators.bash import BashOperator  # noqa: PLC0415

    project = _make_project(folder, _TREE)

    def beside(word: str) -> Any:
        command = f"{sys.executable} {project}/train.py {word}"
        return BashOperator(task_id="train", bash_command=command)

    _compare("local", project, "BashOperator", beside, rounds)


def _on_a_host(folder: Path, rounds: int) -> None:
    from airflow.providers.ssh.operators.ssh import SSHOperator  # noqa: PLC0415

    project = _make_project(folder, _TREE)
    with SshHost() as host:
        os.environ["AIRFLOW_CONN_BOX"] = host.connection_json()
        (host.home / "train.py").write_text(_TREE)

        def beside(word: str) -> Any:
            command = f"python3 train.py {word}"
            return SSHOperator(task_id="train", ssh_conn_id="box", command=command)

        _compare("box", project, "SSHOperator", beside, rounds)


def _on_an_engine(folder: Path, rounds: int) -> None:
    from airflow.providers.docker.operators.docker import DockerOperator  # noqa: PLC0415

    project = _make_project(folder, _TREE)
    with DockerEngine() as engine:
        with contextlib.closing(engine.client()) as client:
            python_image(client, _IMAGE)
        os.environ["AIRFLOW_CONN_ENGINE"] = engine.connection_json(image=_IMAGE)

        def beside(word: str) -> Any:
            return DockerOperator(
                task_id="train",
                image=_IMAGE,
                docker_url=engine.socket_url,
                command=["python3", "-c", _TREE, word],
                mount_tmp_dir=False,
                auto_remove="success",
            )

        _compare("engine", project, "DockerOperator", beside, rounds)


def _on_a_cluster(folder: Path, rounds: int) -> None:
    from airflow.providers.apache.spark.operators.spark_submit import (  # noqa: PLC0415
        SparkSubmitOperator,
    )

    project = _make_project(folder, _SPARK_TREE)
    with SparkCluster() as cluster:
        os.environ["PATH"] = f"{cluster.home / 'bin'}:{os.environ['PATH']}"
        os.environ["SPARK_HOME"] = str(cluster.home)
        os.environ["SPARK_LOCAL_IP"] = cluster.variables()["SPARK_LOCAL_IP"]
        os.environ["AIRFLOW_CONN_CLUSTER"] = cluster.connection_json()

        def beside(word: str) -> Any:
            script = str(project / "train.py")
            return SparkSubmitOperator(
                task_id="train", conn_id="cluster", application=script, application_args=[word]
            )

        _compare("cluster", project, "SparkSubmitOperator", beside, rounds, also=cluster.executors)


_GROUNDS: dict[str, Callable[[Path, int], None]] = {
    "local": _on_this_machine,
    "ssh": _on_a_host,
    "docker": _on_an_engine,
    "spark": _on_a_cluster,
}


def _make_project(folder: Path, script: str) -> Path:
    (folder / "project").mkdir()
    (folder / "project" / "train.py").write_text(script)
    return folder / "project"


def _compare(
    target: str,
    project: Path,
    operator: str,
    beside: Callable[[str], Any],
    rounds: int,
    also: Callable[[], list[int]] = list,
) -> None:
    """Print how long ours and another took to end everything; `also` finds what has no word."""
    ours, theirs = [], []
    for number in range(rounds):
        word = f"tree-{os.getpid()}-{target}-{number}"
        ours.append(_cancel_run(target, project, word + "-ours", also))
        theirs.append(_kill_operator(beside(word + "-theirs"), word + "-theirs", also))
    print(f"{target:8} ours {_shown(ours)}; {operator} {_shown(theirs)}", flush=True)


def _shown(measured: list[float | None]) -> str:
    return ", ".join("still runs" if one is None else f"{one:.2f}" for one in measured)


def _cancel_run(
    target: str, project: Path, word: str, also: Callable[[], list[int]]
) -> float | None:
    from airflow_mltrain import Experiment, ScriptRunConfig  # noqa: PLC0415

    config = ScriptRunConfig(project, "train.py", [word], compute_target=target)
    run = Experiment(open_workspace(), "cancel").submit(config)
    _await_tree(word)
    seconds = _measure(run.cancel, word, also)
    run.wait_for_completion(raise_on_error=False)
    return None if seconds is None else seconds - _GRACE_SECONDS


def _kill_operator(task: Any, word: str, also: Callable[[], list[int]]) -> float | None:
    def execute() -> None:
        with contextlib.suppress(Exception):
            task.execute(task_context())

    # What the task says and raises as it is killed is not what is looked at.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        execution = threading.Thread(target=execute, daemon=True)
        execution.start()
        _await_tree(word)
        seconds = _measure(task.on_kill, word, also)
        execution.join(_PATIENCE_SECONDS)
        return seconds


def _await_tree(word: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while len(_processes(f"{word}-child")) < _CHILDREN:
        assert time.monotonic() < deadline, f"the processes of {word} did not begin"
        time.sleep(0.05)
    time.sleep(0.5)  # the deaf one needs a moment until it is


def _measure(kill: Callable[[], object], word: str, also: Callable[[], list[int]]) -> float | None:
    began = time.monotonic()
    kill()
    while left := [*_processes(word), *also()]:
        if time.monotonic() - began > _PATIENCE_SECONDS:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return None
        time.sleep(0.02)
    return time.monotonic() - began


def _processes(word: str) -> list[int]:
    """Those that have the word among their arguments, in whatever container or namespace."""
    found = subprocess.run(["pgrep", "-f", word], check=False, stdout=subprocess.PIPE)
    return [int(pid) for pid in found.stdout.split()]


if __name__ == "__main__":
    main()
