"""From `execute()` to the first line of the script: SubmitTrainingRunOperator beside BashOperator.

Each execution is in a process of its own, as a worker's are, which has loaded Airflow and both
operators before the clock starts. The project has 100 files and lies in a git checkout.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_CLONE))

from benchmarks.measuring import make_project, task_context  # noqa: E402

_FIRST_LINE = re.compile(r"first line at ([0-9.]+)")


def main() -> None:
    """Print medians, and what the operator adds to BashOperator's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--measure", choices=("bash", "mltrain"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(_measure(arguments.measure, Path.cwd()))
        return
    with tempfile.TemporaryDirectory() as folder:
        project = _make_project(Path(folder) / "project")
        environment = {**os.environ, "AIRFLOW_HOME": f"{folder}/airflow"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        times: dict[str, list[float]] = {"bash": [], "mltrain": []}
        for number in range(arguments.rounds + 1):
            for operator, measured in times.items():
                command = [sys.executable, __file__, "--measure", operator]
                answer = subprocess.run(
                    command, cwd=project, env=environment, check=True, stdout=subprocess.PIPE
                )
                if number:  # the first round makes the database and the bytecode
                    measured.append(float(answer.stdout.split()[-1]))
    bash, ours = (statistics.median(measured) * 1000 for measured in times.values())
    for operator, measured in times.items():
        shown = ", ".join(f"{seconds * 1000:.0f}" for seconds in sorted(measured))
        print(f"{operator:10} median {statistics.median(measured) * 1000:6.1f} ms   ({shown})")
    print(f"added: {ours - bash:.1f} ms (ratio {ours / bash:.1f}); to reach: at most 100 ms")


def _make_project(project: Path) -> Path:
    make_project(project)
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    identity = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org"]
    subprocess.run(["git", *identity, "commit", "-qm", "All"], cwd=project, check=True)
    return project


def _measure(operator: str, project: Path) -> float:
    from airflow.providers.standard.operators.bash import BashOperator  # noqa: PLC0415

    from airflow_mltrain import ScriptRunConfig  # noqa: PLC0415
    from airflow_mltrain.operators.submit_training_run import (  # noqa: PLC0415
        SubmitTrainingRunOperator,
    )

    task: Any
    if operator == "bash":
        task = BashOperator(  # noqa: AIR001
            task_id="train", bash_command=f"{sys.executable} train.py", cwd=str(project)
        )
    else:
        task = SubmitTrainingRunOperator(
            task_id="train",
            experiment="benchmark",
            config=ScriptRunConfig(project, "train.py"),
            wait_for_completion=True,
            deferrable=False,
        )
    context = task_context()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        began = time.time()
        result = task.execute(context)
    if operator == "bash":
        printed = str(result)
    else:
        from airflow_mltrain import Run, Workspace  # noqa: PLC0415

        run = Run.get(Workspace.from_config(), result)
        run.download_file("log", project.parent / "log")
        printed = (project.parent / "log").read_text()
    found = _FIRST_LINE.search(printed)
    assert found is not None, printed
    return float(found[1]) - began


if __name__ == "__main__":
    main()
