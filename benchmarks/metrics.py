"""What logging costs a training script, beside a script that prints or writes JSON of its own.

Then how fast metrics arrive in the run history, from a script that does nothing but log them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_CLONE))

from benchmarks.measuring import cpu_seconds, open_workspace  # noqa: E402

_TRAINING = _CLONE / "airflow_mltrain" / "runtime" / "training"

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # of numpy: the machine is not to be short of cores

_IMPORT = (
    "import time; began = time.perf_counter(); import mltrain; print(time.perf_counter() - began)"
)

# How a script without us keeps a value: in its output, which is the run's log, or in a file of
# its own, with and without a buffer.
_WAYS = {
    "nothing": "def log(step, loss): pass",
    "mltrain": "import mltrain\nrun = mltrain.Run.get_context()\n"
    "def log(step, loss): run.log('loss', loss, step=step)",
    "print, flushed": "def log(step, loss): print('loss', loss, 'step', step, flush=True)",
    "print, buffered": "out = open('printed', 'w')\n"
    "def log(step, loss): print('loss', loss, 'step', step, file=out)",
    "JSON, flushed": "import json, time\nout = open('lines.jsonl', 'w')\n"
    "def log(step, loss):\n"
    "    line = {'name': 'loss', 'value': loss, 'step': step, 'time': time.time()}\n"
    "    out.write(json.dumps(line) + '\\n'); out.flush()",
    "JSON, buffered": "import json, time\nout = open('lines.jsonl', 'w')\n"
    "def log(step, loss):\n"
    "    line = {'name': 'loss', 'value': loss, 'step': step, 'time': time.time()}\n"
    "    out.write(json.dumps(line) + '\\n')",
}

_CALLS = """
import sys, time
times = []
for step in range(int(sys.argv[1])):
    began = time.perf_counter_ns()
    log(step, 1.0 / (step + 1))
    times.append(time.perf_counter_ns() - began)
times.sort()
sys.stderr.write(str(times[len(times) // 2] / 1000))
"""

# One step of training a small neural network: 128 rows, 64 inputs, 64 hidden units, one output.
# All ways take turns of a tenth of a second in one process, so that none has a slower machine.
_LOOP = """
import json, sys, time, numpy
points, ways = int(sys.argv[1]), json.loads(sys.argv[2])
random = numpy.random.default_rng(0)
rows, truth = random.normal(size=(128, 64)), random.random((128, 1))
first, second = random.normal(size=(64, 64)) / 8, random.normal(size=(64, 1)) / 8

def train(steps, log):
    global first, second
    for step in steps:
        hidden = numpy.tanh(rows @ first)
        wrong = hidden @ second - truth
        back = (wrong @ second.T) * (1 - hidden * hidden)
        second -= 0.01 * (hidden.T @ wrong) / 128
        first -= 0.01 * (rows.T @ back) / 128
        log(step, float(numpy.mean(wrong * wrong)))

logs = {}
for way, code in ways.items():
    exec(code, names := {})
    logs[way] = names["log"]
sums = dict.fromkeys(logs, 0.0)
turn = list(logs)
for begin in range(0, points, 1000):
    for way in turn:
        began = time.perf_counter()
        train(range(begin, begin + 1000), logs[way])
        sums[way] += time.perf_counter() - began
    turn.append(turn.pop(0))
sys.stderr.write(json.dumps(sums))
"""

_FLOOD = """
import mltrain, sys, time
run = mltrain.Run.get_context()
print(time.time(), flush=True)
for step in range(int(sys.argv[1])):
    run.log("loss", 1.0 / (step + 1), step=step)
"""


def main() -> None:
    """Print each figure, and how ours compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--loop", type=int, default=1_000_000, help="points of the loop")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AIRFLOW_HOME"] = folder
        _measure_import(arguments.rounds)
        _measure_calls(Path(folder), arguments.rounds)
        _measure_loop(Path(folder), arguments.loop)
        _measure_arrival(Path(folder), arguments.points)


def _measure_import(rounds: int) -> None:
    times = [
        float(_run(["-c", _IMPORT], Path.cwd()).stdout) * 1000 for _ in range(max(11, rounds))
    ]
    print(f"import mltrain: median {statistics.median(times):.1f} ms; to reach: 30 ms")


def _measure_calls(folder: Path, rounds: int) -> None:
    print("one value logged, median of 100,000 calls, in microseconds")
    medians = {
        way: statistics.median(
            float(_run(["-c", f"{code}\n{_CALLS}", "100000"], folder).stderr)
            for _ in range(rounds)
        )
        for way, code in _WAYS.items()
    }
    _show(medians, "mltrain; to reach: 20 microseconds")


def _measure_loop(folder: Path, points: int) -> None:
    answer = _run(["-c", _LOOP, str(points), json.dumps(_WAYS)], folder).stderr
    sums: dict[str, float] = json.loads(answer)
    unit = sums["nothing"] / points * 1e6
    print(f"a loop that logs {points:,} points, a step of {unit:.0f} us each, in seconds")
    _show(sums, f"slower by {sums['mltrain'] / sums['nothing'] - 1:.1%}; to reach: 10%")


def _measure_arrival(folder: Path, points: int) -> None:
    from airflow_mltrain import Experiment, ScriptRunConfig  # noqa: PLC0415 - needs AIRFLOW_HOME

    project = folder / "project"
    project.mkdir()
    (project / "train.py").write_text(_FLOOD)
    workspace = open_workspace()
    before = cpu_seconds()
    run = Experiment(workspace, "metrics").submit(ScriptRunConfig(project, "train.py", [points]))
    run.wait_for_completion()
    ended, used_seconds = time.time(), cpu_seconds() - before
    run.download_file("log", folder / "log")
    began = float((folder / "log").read_text())
    kept = workspace.history.get_metrics(run.id)
    assert [point.step for point in kept] == list(range(points))
    rate = points / (ended - began)
    print(f"{points:,} points from the script into the history: {rate:,.0f} a second")
    print(f"  each once and in order, {used_seconds:.1f} s of CPU here; to reach: 50,000 a second")


def _show(figures: dict[str, float], note: str) -> None:
    for way, figure in figures.items():
        print(f"  {way:16} {figure:8.2f}   {figure / figures['mltrain']:.2f} of mltrain")
    print(f"  ours: {note}")


def _run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    metrics = folder / "metrics.jsonl"
    variables = {"MLTRAIN_RUN_ID": "run", "MLTRAIN_METRICS": str(metrics)}
    environment = {**os.environ, **variables, **_ONE_THREAD, "PYTHONPATH": str(_TRAINING)}
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env=environment,
            check=True,
            text=True,
            stdout=output,
            stderr=subprocess.PIPE,
        )
        output.seek(0)
        done.stdout = output.read(1000)
    metrics.unlink(missing_ok=True)
    return done


if __name__ == "__main__":
    main()
