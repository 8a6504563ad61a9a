"""From the end of a script to its trigger's event and to the end of its task, on a real Airflow.

A trivial trigger that fires at a time stands beside it: what it takes is Airflow's own.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path

_CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_CLONE))

from scripts.airflow_stack import AirflowStack  # noqa: E402

_DAGS = {
    "clock": "trivial trigger",
    "run_deferred": "run of 20 s, deferred",
    "run_short": "run of 2 s",
}
_ENDED = re.compile(r"script ended at ([0-9.]+)")
_FIRED = "Trigger fired event"


def main() -> None:
    """Print medians, in seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    dags = _CLONE / "benchmarks" / "dags"
    times: dict[str, list[tuple[float | None, float]]] = {dag_id: [] for dag_id in _DAGS}
    with (
        tempfile.TemporaryDirectory() as folder,
        AirflowStack(Path(folder), dags, {"PYTHONPATH": str(dags)}) as airflow,
    ):
        for number in range(arguments.rounds + 1):
            for dag_id, measured in times.items():
                dag_run_id = airflow.trigger(dag_id)
                assert airflow.wait_for_dag_run(dag_id, dag_run_id) == "success", dag_id
                if number:  # the first round wakes everything up
                    measured.append(_measure(airflow, dag_id, dag_run_id))
    print(f"{'':24} {'to the event':>14} {'to the task end':>16}   (medians, s)")
    for dag_id, measured in times.items():
        events = [event for event, _ in measured if event is not None]
        event = f"{statistics.median(events):14.2f}" if events else f"{'-':>14}"
        end = statistics.median(end for _, end in measured)
        print(f"{_DAGS[dag_id]:24} {event} {end:16.2f}")


def _measure(airflow: AirflowStack, dag_id: str, dag_run_id: str) -> tuple[float | None, float]:
    ended = _ENDED.search(airflow.task_log(dag_id, dag_run_id, "wait"))
    assert ended is not None
    moment = float(ended[1])
    entries = airflow.task_log_entries(dag_id, dag_run_id, "wait")
    fired = [_seconds(entry["timestamp"]) for entry in entries if entry["event"] == _FIRED]
    task = airflow.task_instance(dag_id, dag_run_id, "wait")
    return (fired[-1] - moment if fired else None), _seconds(task["end_date"]) - moment


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


if __name__ == "__main__":
    main()
