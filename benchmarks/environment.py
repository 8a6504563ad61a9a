"""What environments cost: a cached one, a first build beside venv and pip, and ten runs at once.

The download caches of uv and pip are warm, as on a machine that has built something before.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from airflow_mltrain.environments.curated import find_curated
from airflow_mltrain.environments.plan import plan_environment
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.snapshot import take_snapshot
from airflow_mltrain.targets.base import EnvironmentRequest, Job, JobState, Seen
from airflow_mltrain.targets.local import LocalTarget

_CURATED = "MLTrain-Scikit-Learn"
_RUNS_AT_ONCE = 10


@dataclass
class _Bench:
    """Starts jobs with and without an environment on one target."""

    folder: Path
    target: LocalTarget

    def job(self, environment: EnvironmentRequest | None) -> Job:
        source = self.folder / "source"
        source.mkdir(exist_ok=True)
        # Without what it prints no script has begun; -S keeps the interpreters' own start alike.
        (source / "train.py").write_text("print('begun', flush=True)\n")
        store = BlobStore(self.folder / "blobs")
        index = self.folder / "index"
        snapshot = take_snapshot(source, store, index_directory=index, max_bytes=10**6)
        digests = {entry.sha256 for entry in snapshot.manifest.entries if entry.sha256}
        missing = self.target.missing({snapshot.snapshot_id, *digests})
        self.target.upload({digest: store.path(digest) for digest in missing})
        interpreter = "python" if environment else os.path.realpath(sys.executable)
        argv = (interpreter, "-S", "train.py")
        run_id = f"run-{uuid4().hex}"
        return Job(run_id, snapshot.snapshot_id, argv, environment=environment)

    def run(self, job: Job) -> tuple[float, JobState]:
        """Seconds from `start` to the first line, and the state with all of the log."""
        began = time.perf_counter()
        self.target.start(job)
        first_line, log, status = None, b"", RunStatus.NOT_STARTED
        while True:
            seen = Seen(status, len(log), 0, None)
            state = self.target.observe({job.run_id: seen}, 1.0).get(job.run_id)
            if state is None:
                continue
            status, log = state.status, log + state.log
            if first_line is None and b"begun" in log:
                first_line = time.perf_counter() - began
            if status.is_terminal and len(log) >= (state.log_bytes or 0):
                assert status is RunStatus.COMPLETED, (state.reason, log[-2000:])
                assert first_line is not None
                return first_line, state


def main() -> None:
    """Print each figure beside what it has to reach."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--builds", type=int, default=3)
    arguments = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder:
        _measure_builds(Path(folder), arguments.builds)
        bench = _Bench(Path(folder), LocalTarget("bench", Path(folder) / "at-once"))
        _measure_runs_at_once(bench)
        _measure_cached(bench, arguments.rounds)


def _request() -> tuple[EnvironmentRequest, list[str]]:
    environment = find_curated(_CURATED)
    assert environment is not None
    plan = plan_environment(environment, default_interpreter=sys.executable)
    assert plan.recipe is not None
    request = EnvironmentRequest(_CURATED, plan.recipe, plan.recipe_id)
    return request, list(environment.python.packages)


def _measure_builds(folder: Path, builds: int) -> None:
    request, packages = _request()
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(builds + 1):
        bench = _Bench(folder, LocalTarget("bench", folder / f"build-{number}"))
        seconds, _ = bench.run(bench.job(request))
        began = time.perf_counter()
        venv = folder / f"venv-{number}"
        subprocess.run([os.path.realpath(sys.executable), "-m", "venv", str(venv)], check=True)
        install = [str(venv / "bin" / "python"), "-m", "pip", "install", "-qq", *packages]
        subprocess.run(install, check=True)
        if number:  # the first round fills the download caches
            ours.append(seconds)
            theirs.append(time.perf_counter() - began)
    _say("first build", ours, "s")
    _say("venv and pip", theirs, "s")
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"venv and pip take {ratio:.1f} times as long; to reach: at least 5 times\n")


def _measure_runs_at_once(bench: _Bench) -> None:
    request, _ = _request()
    logs: list[bytes] = []

    def run() -> None:
        job = bench.job(request)
        bench.run(job)
        logs.append((bench.folder / "at-once" / "runs" / job.run_id / "log").read_bytes())

    threads = [threading.Thread(target=run) for _ in range(_RUNS_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    builds = sum(b" was built in " in log for log in logs)
    assert len(logs) == _RUNS_AT_ONCE
    print(f"{_RUNS_AT_ONCE} runs at once: {builds} build; to reach: 1\n")


def _measure_cached(bench: _Bench, rounds: int) -> None:
    request, _ = _request()
    with_environment: list[float] = []
    without: list[float] = []
    for number in range(rounds + 1):
        for environment, measured in ((request, with_environment), (None, without)):
            seconds, _ = bench.run(bench.job(environment))
            if number:
                measured.append(seconds * 1000)
    _say("cached environment", with_environment, "ms")
    _say("no environment", without, "ms")
    added = statistics.median(with_environment) - statistics.median(without)
    print(f"a cached environment adds {added:.1f} ms to a run's start; to reach: under 50 ms")


def _say(what: str, measured: list[float], unit: str) -> None:
    shown = ", ".join(f"{value:.1f}" for value in sorted(measured))
    print(f"{what:20} median {statistics.median(measured):8.1f} {unit}   ({shown})")


if __name__ == "__main__":
    main()
