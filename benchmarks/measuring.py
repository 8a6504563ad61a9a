"""What the benchmarks of compute targets share."""

from __future__ import annotations

import os
import resource
import statistics
import time
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_mltrain import Workspace


def show(title: str, times: dict[str, list[float]], ours: str, beside: str, to_reach: str) -> None:
    """Print the medians, all that they are of, and how ours compares."""
    print(title)
    for name, measured in times.items():
        shown = ", ".join(f"{seconds:.3f}" for seconds in sorted(measured))
        print(f"  {name:26} median {statistics.median(measured):.3f} s   ({shown})")
    ratio = statistics.median(times[ours]) / statistics.median(times[beside])
    print(f"  ratio {ratio:.2f}; to reach: {to_reach}")


def make_project(project: Path) -> str:
    """Make a project of 100 files; returns the text of its script, which prints the time."""
    script = "import time\nprint('first line at', time.time(), flush=True)\n"
    (project / "library").mkdir(parents=True)
    (project / "train.py").write_text(script)
    for number in range(99):
        (project / "library" / f"module_{number}.py").write_text(f"VALUE = {number}\n" * 100)
    return script


def cpu_seconds() -> float:
    """What this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_bytes() -> int:
    """The memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def moment_in(path: str | Path) -> float:
    """The time that a script wrote down."""
    return float(Path(path).read_text())


def open_workspace() -> Workspace:
    """The workspace that the environment names."""
    from airflow_mltrain import Workspace  # noqa: PLC0415 - not before the environment is set

    return Workspace.from_config()


def task_context() -> dict[str, Any]:
    """What Airflow gives a task that runs for the first time, as far as operators look at it."""
    now = datetime.now(timezone.utc)
    ti = SimpleNamespace(
        dag_id="benchmark",
        run_id=f"run_{time.time_ns()}",
        task_id="train",
        map_index=-1,
        try_number=1,
        max_tries=0,
        start_date=now,
        xcom_push=lambda **_: None,
        render_templates=lambda: None,
    )
    return {
        "ti": ti,
        "task_instance": ti,
        "dag_run": SimpleNamespace(start_date=now),
        "params": {},
    }
