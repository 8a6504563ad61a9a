"""A thousand waiting runs over ten targets, watched by the triggers of one process, then the next.

The runs are real jobs of this machine that sleep. The triggers are real, in an event loop of their
own process, as a triggerer runs them; Airflow itself is left out. How late the loop calls back
says how long it was blocked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

_CLONE = Path(__file__).resolve().parents[1]
sys.path[0] = str(_CLONE)  # in place of the folder in which docker.py is called as a library is

from benchmarks.measuring import cpu_seconds, open_workspace  # noqa: E402

if TYPE_CHECKING:
    from airflow_mltrain.runs.record import RunRecord

_TARGETS = 10
_TICK_SECONDS = 0.01
_WATCH_SECONDS = 10.0
_LIMIT_SECONDS = 120.0


def main() -> None:
    """Print how long each process took to have all runs in view, and how long its loop stood."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--watch", help=argparse.SUPPRESS)  # the part of a triggerer, by this name
    arguments = parser.parse_args()
    if arguments.watch:
        asyncio.run(_watch(arguments.watch, arguments.runs))
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # jobs end meanwhile
        home = Path(folder)
        os.environ["AIRFLOW_HOME"] = str(home / "airflow")
        for number in range(_TARGETS):
            connection = {
                "conn_type": "mltrain_compute",
                "extra": {"root": str(home / f"target-{number}")},
            }
            os.environ[f"AIRFLOW_CONN_BOX_{number}"] = json.dumps(connection)
        runs = _submit(home / "project", arguments.runs)
        try:
            for name in ("first", "next"):
                command = [sys.executable, __file__, "--watch", name, "--runs", str(len(runs))]
                subprocess.run(command, check=True)
        finally:
            subprocess.run(["pkill", "-f", str(home / "project" / "sleeps")], check=False)


def _submit(project: Path, count: int) -> list[RunRecord]:
    from airflow_mltrain import ScriptRunConfig, submission  # noqa: PLC0415 - after AIRFLOW_HOME

    project.mkdir()
    (project / "file").write_text("nothing")
    workspace = open_workspace()

    def submit(number: int) -> RunRecord:
        # The second word is for who looks for these scripts, and no other.
        words = ["sh", "-c", "echo began; sleep 600", str(project / "sleeps")]
        config = ScriptRunConfig(project, command=words, compute_target=f"box_{number % _TARGETS}")
        return submission.submit(workspace, "crowd", config)

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(submit, range(count)))


async def _watch(name: str, count: int) -> None:
    from airflow_mltrain.triggers.training_run import TrainingRunTrigger  # noqa: PLC0415 - as above

    began = time.monotonic()
    workspace = open_workspace()
    history = workspace.history
    runs = await asyncio.to_thread(history.list_runs, "crowd", limit=count)
    triggers = [
        TrainingRunTrigger(
            run.target, run.run_id, name, is_owner=True, unreachable_timeout_seconds=0
        )
        for run in runs
    ]
    lateness = [0.0]
    tasks = [asyncio.create_task(_first_event(trigger)) for trigger in triggers]
    ticking = asyncio.create_task(_tick(lateness))
    unseen = {run.run_id for run in runs}
    while unseen:
        assert not any(task.done() for task in tasks), "a trigger ended"
        await asyncio.sleep(0.5)
        unseen = await asyncio.to_thread(
            lambda left: {one for one in left if not history.log_position(one, name)}, unseen
        )
        assert time.monotonic() - began < _LIMIT_SECONDS, f"{len(unseen)} runs are unseen"
    seen_seconds = time.monotonic() - began
    adopting, lateness[:] = max(lateness), [0.0]
    before, since = cpu_seconds(), time.monotonic()
    await asyncio.sleep(_WATCH_SECONDS)
    used = (cpu_seconds() - before) / (time.monotonic() - since)
    print(
        f"{name}: {len(runs)} runs in view after {seen_seconds:.1f} s (to reach: 30); loop "
        f"blocked for {adopting * 1000:.0f} ms at most meanwhile, "
        f"{max(lateness) * 1000:.0f} ms after (to reach: 200); {100 * used:.0f}% of a core",
        flush=True,
    )
    ticking.cancel()
    os._exit(0)  # as a triggerer that is killed: nobody is told


async def _first_event(trigger: object) -> None:
    async for _ in trigger.run():  # type: ignore[attr-defined]
        return


async def _tick(lateness: list[float]) -> None:
    while True:
        due = time.monotonic() + _TICK_SECONDS
        await asyncio.sleep(_TICK_SECONDS)
        lateness.append(time.monotonic() - due)


if __name__ == "__main__":
    main()
