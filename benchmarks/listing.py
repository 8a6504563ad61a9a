"""`mltrain list` on a history of 100,000 runs, beside what a program in Python takes at least.

Beside that, `airflow dags list-runs` on a database of Airflow's that has no runs at all.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from sqlalchemy import create_engine, insert

_CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_CLONE))

from airflow_mltrain.runs.history import open_run_history  # noqa: E402
from airflow_mltrain.runs.record import RunRecord  # noqa: E402
from airflow_mltrain.runs.schema import runs, to_row  # noqa: E402
from airflow_mltrain.runs.status import RunStatus  # noqa: E402

_AT_ONCE = 10_000
_BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)
_CONFIG = {
    "source_directory": "/home/me/project",
    "script": "train.py",
    "arguments": ["--rate", "0.1"],
    "run_config": {
        "environment": {"name": "churn", "python": {"packages": ["numpy==2.2.6"] * 20}}
    },
}
_PYTHON = [sys.executable, "-c"]
_LIST = [sys.executable, "-m", "airflow_mltrain.cli", "list"]
_PLAIN_SQL = (
    "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1]);"
    "print(connection.execute('SELECT run_id, status FROM mltrain_run WHERE parent_run_id IS NULL"
    " ORDER BY created_at DESC, run_id DESC LIMIT 20').fetchall())"
)


def main() -> None:
    """Fill a history, then list it again and again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=11)
    parser.add_argument("--with-airflow", action="store_true", help="makes a database for it")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as home:
        os.environ["AIRFLOW_HOME"] = home
        file = Path(home) / "mltrain" / "history.db"
        fill(f"sqlite:///{file}", options.runs)
        middle = run_id_of(options.runs // 2)
        ways = {
            "python -c pass": [*_PYTHON, "pass"],
            "python, plain SQL": [*_PYTHON, _PLAIN_SQL, str(file)],
            "python -c 'import sqlalchemy'": [*_PYTHON, "import sqlalchemy"],
            "mltrain list": _LIST,
            "mltrain list --json -n 100": [*_LIST, "--json", "-n", "100"],
            "mltrain list --before the middle": [*_LIST, "--before", middle],
            "mltrain list --experiment": [*_LIST, "--experiment", "churn-7"],
            "mltrain list --status, of 100": [*_LIST, "--status", "failed"],
            "mltrain list --status, of none": [*_LIST, "--status", "running"],
            "mltrain list --tag, of the oldest": [*_LIST, "--tag", "number=0"],
        }
        times = 3 if options.with_airflow else options.times
        if options.with_airflow:
            prepare_airflow()
            ways = {name: ways[name] for name in ("python -c pass", "mltrain list")}
            ways["airflow dags list-runs, of none"] = [
                *(sys.executable, "-m", "airflow", "dags", "list-runs", "nothing")
            ]
        show({name: seconds_of(command, times) for name, command in ways.items()})


def fill(url: str, count: int) -> None:
    """Record ended runs of twenty experiments, a minute apart; of a thousand each, one failed."""
    history = open_run_history(url)
    history.list_runs()
    history.close()
    began = time.perf_counter()
    engine = create_engine(url)
    with engine.begin() as connection:
        for start in range(0, count, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, count))
            connection.execute(insert(runs), [to_row(record(number)) for number in numbers])
    engine.dispose()
    print(f"{count} runs recorded in {time.perf_counter() - began:.1f} s")


def record(number: int) -> RunRecord:
    """One of the runs."""
    at = _BEGAN + timedelta(minutes=number)
    return RunRecord(
        run_id=run_id_of(number),
        experiment=f"churn-{number % 20}",
        target="local",
        snapshot_id="5f" * 32,
        config=_CONFIG,
        created_at=at,
        status=RunStatus.COMPLETED if number % 1000 else RunStatus.FAILED,
        started_at=at,
        ended_at=at + timedelta(seconds=50),
        tags={"team": "vision", "number": str(number)},
        properties={"mltrain.place": "ab" * 16},
    )


def run_id_of(number: int) -> str:
    """As long as they are."""
    return f"churn-{number % 20}_{1_767_225_600 + 60 * number}_{number:08x}"


def prepare_airflow() -> None:
    """Make Airflow's own database, which takes long."""
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, check=True, capture_output=True)


def seconds_of(command: list[str], times: int) -> list[float]:
    """How long a program takes from its start to its end, the first time left out."""

    def measure() -> Iterator[float]:
        for _ in range(times + 1):
            began = time.perf_counter()
            subprocess.run(command, check=False, capture_output=True)
            yield time.perf_counter() - began

    return list(measure())[1:]


def show(times: dict[str, list[float]]) -> None:
    """Print medians, and how many times Python's own start each is."""
    medians = {name: statistics.median(measured) for name, measured in times.items()}
    least = medians["python -c pass"]
    for name, median in medians.items():
        print(f"  {name:36} {median:.3f} s  {median / least:6.1f} times python -c pass")


if __name__ == "__main__":
    main()
