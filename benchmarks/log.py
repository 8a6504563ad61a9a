"""A large log on its way from a script to a task log and the artifact store: time and memory.

The log passes through a task that follows its run on the worker, and through a deferred one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_CLONE))

from scripts.airflow_stack import COMPONENTS, AirflowStack  # noqa: E402

_DAG = '''
from airflow.sdk import DAG
from airflow_mltrain.operators.submit_training_run import SubmitTrainingRunOperator

SCRIPT = """
import sys
line = b"x" * 98 + b"\\\\n"
for _ in range({megabytes} * 1_000_000 // (99 * 10_000)):
    sys.stdout.buffer.write(line * 10_000)
"""
for dag_id, deferrable in (("on_worker", False), ("deferred", True)):
    with DAG(dag_id, schedule=None):
        SubmitTrainingRunOperator(
            task_id="train",
            experiment="log",
            config={{"source_directory": "{project}", "command": ["python", "-c", SCRIPT]}},
            wait_for_completion=True,
            deferrable=deferrable,
        )
'''


def main() -> None:
    """Print how fast each way was, and the largest process of ours and of Airflow's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project, dags = Path(folder) / "project", Path(folder) / "dags"
        project.mkdir()
        dags.mkdir()
        dag = _DAG.format(megabytes=arguments.megabytes, project=project)
        (dags / "log.py").write_text(dag)
        settings = {"AIRFLOW__MLTRAIN__DEFER_AFTER_SECONDS": "0.1"}
        with AirflowStack(Path(folder) / "airflow", dags, settings) as airflow:
            for dag_id in ("on_worker", "deferred"):
                _measure(airflow, dag_id)


def _measure(airflow: AirflowStack, dag_id: str) -> None:
    peaks: dict[str, int] = {}
    is_over = threading.Event()
    sessions = [airflow.pid(component) for component in COMPONENTS]
    watch = threading.Thread(target=_watch, args=(sessions, peaks, is_over))
    watch.start()
    began = time.monotonic()
    dag_run_id = airflow.trigger(dag_id)
    state = airflow.wait_for_dag_run(dag_id, dag_run_id)
    seconds = time.monotonic() - began
    is_over.set()
    watch.join()
    [kept] = (airflow.home / "mltrain" / "artifacts" / "runs").glob("log_*/log")
    size = kept.stat().st_size
    kept.unlink()
    print(f"{dag_id}: {state}, {size:,} bytes in {seconds:.0f} s, {size / seconds / 1e6:.1f} MB/s")
    for name, peak in sorted(peaks.items(), key=lambda item: -item[1])[:6]:
        print(f"    {peak / 1e6:6.0f} MB  {name}")


def _watch(sessions: list[int], peaks: dict[str, int], is_over: threading.Event) -> None:
    while not is_over.wait(0.2):
        for name, resident in _processes(sessions):
            peaks[name] = max(peaks.get(name, 0), resident)


def _processes(sessions: list[int]) -> Iterator[tuple[str, int]]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) not in sessions:
                continue
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            pages = int((process / "statm").read_text().split()[1])
        except OSError:
            continue
        yield command.replace(sys.prefix, "")[:70], pages * 4096


if __name__ == "__main__":
    main()
