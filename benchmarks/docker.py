"""Runs on a Docker engine, beside what one would use there otherwise, in one real engine.

`submit`: `execute()` to the first line of the script, beside DockerOperator. `end`: end of a
script to its event. `waiting`: 100 containers waited for at once. `log`: a log of 500 MB,
beside `docker logs`. It makes the engine, and so needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

_CLONE = Path(__file__).resolve().parents[1]
sys.path[0] = str(_CLONE)  # in place of the folder in which this file is called as a library is

from benchmarks.measuring import (  # noqa: E402
    cpu_seconds,
    make_project,
    moment_in,
    open_workspace,
    show,
    task_context,
)
from tests.services.artifacts import folder_store  # noqa: E402
from tests.services.docker_engine import DockerEngine  # noqa: E402
from tests.services.docker_image import python_image  # noqa: E402

_FIRST_LINE = re.compile(r"first line at ([0-9.]+)")
_TARGET = "engine"
_IMAGE = "mltrain-test/python:3"
_LOG_BYTES = 500_000_000
_COUNT = 100


def main() -> None:
    """Run the measurements that are asked for, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=", ".join(_PARTS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(_measure_submit(arguments.measure, Path.cwd()))
        return
    with DockerEngine() as engine, tempfile.TemporaryDirectory() as folder:
        with closing(engine.client()) as client:
            python_image(client, _IMAGE)
        for name in ("PYTHONDONTWRITEBYTECODE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            os.environ.pop(name, None)
        os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
        os.environ["AIRFLOW_HOME"] = f"{folder}/airflow"
        os.environ["AIRFLOW_CONN_WARM"] = "docker://"
        os.environ["ENGINE_URL"] = engine.socket_url
        os.environ[f"AIRFLOW_CONN_{_TARGET.upper()}"] = engine.connection_json(
            image=_IMAGE, mounts=[f"{folder}:{folder}"]
        )
        for part in arguments.parts or _PARTS:
            print(f"--- {part}")
            own = Path(folder) / part
            own.mkdir()
            _PARTS[part](engine, own, arguments.rounds)


def _submit(engine: DockerEngine, folder: Path, rounds: int) -> None:
    project = folder / "project"
    make_project(project)
    times: dict[str, list[float]] = {"DockerOperator": [], "ours": []}
    for number in range(rounds + 1):
        for operator in random.sample(list(times), len(times)):  # what one leaves, the next meets
            command = [sys.executable, __file__, "--measure", operator]
            answer = subprocess.run(command, cwd=project, check=True, stdout=subprocess.PIPE)
            if number:  # the first round makes the database, bytecode and agent's container
                times[operator].append(float(answer.stdout.split()[-1]))
    show("execute() to the first line", times, "ours", "DockerOperator", "at most 1.5")
    with closing(engine.client()) as client:
        left = client.containers.list(all=True, filters={"label": "mltrain.run_id"})
    print(f"  containers left behind: {len(left)}")


def _measure_submit(operator: str, project: Path) -> float:
    from airflow.providers.docker.operators.docker import DockerOperator  # noqa: PLC0415

    from airflow_mltrain import ScriptRunConfig  # noqa: PLC0415
    from airflow_mltrain.operators.submit_training_run import (  # noqa: PLC0415
        SubmitTrainingRunOperator,
    )

    task: Any
    if operator == "ours":
        task = SubmitTrainingRunOperator(
            task_id="train",
            experiment="benchmark",
            config=ScriptRunConfig(project, "train.py", compute_target=_TARGET),
            wait_for_completion=True,
            deferrable=False,
        )
    else:
        task = DockerOperator(  # noqa: AIR001 # its script is in a folder of this machine: it ships no code
            task_id="train",
            image=_IMAGE,
            docker_url=os.environ["ENGINE_URL"],
            command=["python3", f"{project}/train.py"],
            mounts=[_bind(project)],
            mount_tmp_dir=False,
            auto_remove="success",
        )
    from airflow.sdk import BaseHook  # noqa: PLC0415

    # Outside of a task the first look-up of a connection imports Airflow's supervisor: 0.1 s.
    BaseHook.get_connection("warm")
    with contextlib.redirect_stdout(io.StringIO()):
        began = time.time()
        result = task.execute(task_context())
    if operator == "ours":
        result = (folder_store(open_workspace()).run_folder(result) / "log").read_text()
    found = _FIRST_LINE.search(str(result))
    assert found is not None, result
    return float(found[1]) - began


def _bind(folder: Path) -> Any:
    from docker.types import Mount  # noqa: PLC0415

    return Mount(str(folder), str(folder), type="bind")


def _end(_: DockerEngine, folder: Path, rounds: int) -> None:
    from airflow_mltrain import ScriptRunConfig, submission  # noqa: PLC0415
    from airflow_mltrain.triggers.training_run import TrainingRunTrigger  # noqa: PLC0415

    workspace = open_workspace()
    marks = folder / "marks"
    marks.mkdir()
    project = folder / "project"
    project.mkdir()
    measured: list[float] = []

    async def wait(trigger: Any, mark: Path) -> None:
        async for _ in trigger.run():
            measured.append(time.time() - moment_in(mark))
            return

    async def measure() -> None:
        waits = []
        for number in range(rounds):
            seconds = random.uniform(8.0, 13.0)  # noqa: S311 - where in a poll it ends
            mark = marks / str(number)
            stamp = (
                f"import time; time.sleep({seconds}); "
                f"open({str(mark)!r}, 'w').write(str(time.time()))"
            )
            (project / "train.py").write_text(stamp)
            config = ScriptRunConfig(project, "train.py", compute_target=_TARGET)
            record = await asyncio.to_thread(submission.submit, workspace, "end", config)
            trigger = TrainingRunTrigger(_TARGET, record.run_id, f"r{number}", is_owner=True)
            waits.append(asyncio.create_task(wait(trigger, mark)))
        await asyncio.gather(*waits)

    with contextlib.redirect_stdout(io.StringIO()):
        asyncio.run(measure())
    shown = ", ".join(f"{seconds:.3f}" for seconds in sorted(measured))
    print(f"end of the script to the event: median {statistics.median(measured):.3f} s ({shown})")
    print("  to reach: under 0.3 s")


def _waiting(engine: DockerEngine, folder: Path, _: int) -> None:
    """CPU and connections of a process with 100 triggers, after all of them have begun to wait."""
    run_ids = subprocess.run(  # in another process, whose connections are not the triggerer's
        [sys.executable, "-c", _SUBMIT_MANY, str(folder)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_CLONE,
    ).stdout.split()[-_COUNT:]
    from airflow_mltrain.triggers.training_run import TrainingRunTrigger  # noqa: PLC0415

    seconds = 20.0

    async def follow(trigger: Any) -> None:
        async for _ in trigger.run():
            return

    async def measure() -> None:
        waits = []
        for run_id in run_ids:
            trigger = TrainingRunTrigger(_TARGET, run_id, f"r/{run_id}", is_owner=True)
            waits.append(asyncio.create_task(follow(trigger)))
        await asyncio.sleep(20)  # so long do a hundred take to begin to wait
        used = cpu_seconds()
        await asyncio.sleep(seconds)
        share = (cpu_seconds() - used) / seconds
        print(f"{len(run_ids)} waiting containers: {_connections(engine)} connection(s)")
        print(f"  CPU of a core: {share:.1%} (to reach: under 5%)")
        for one in waits:
            one.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    asyncio.run(measure())
    with closing(engine.client()) as client, ThreadPoolExecutor(4) as pool:
        found = client.containers.list(filters={"label": "mltrain.run_id"})
        list(pool.map(lambda one: one.remove(force=True), found))


_SUBMIT_MANY = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from airflow_mltrain import ScriptRunConfig, Workspace, submission
folder = Path(sys.argv[1])
(folder / "train.sh").write_text("exec sleep 100000")
config = ScriptRunConfig(folder, command=["sh", "train.sh"], compute_target="{_TARGET}")
workspace = Workspace.from_config()
submission.submit(workspace, "wait", config)
with ThreadPoolExecutor(4) as pool:
    runs = [pool.submit(submission.submit, workspace, "wait", config) for _ in range({_COUNT})]
    print(*(one.result().run_id for one in runs))
"""


def _connections(engine: DockerEngine) -> int:
    """How many connections to the engine this process has."""
    path = engine.socket_url.removeprefix("unix://")
    peers = subprocess.run(["ss", "-xnp"], check=True, capture_output=True, text=True).stdout
    ours = [line.split() for line in peers.splitlines() if f"pid={os.getpid()}," in line]
    sides = {peer for *_, peer, _ in ours}
    return sum(path in line and line.split()[5] in sides for line in peers.splitlines())


def _log(engine: DockerEngine, folder: Path, _: int) -> None:
    from airflow_mltrain import ScriptRunConfig, progress, submission  # noqa: PLC0415

    size = _LOG_BYTES
    script = (
        "import sys\nline = b'%07d ' + b'x' * 91 + b'\\n'\n"
        f"for start in range(0, {size // 100}, 1000):\n"
        "    sys.stdout.buffer.write(b''.join(line % n for n in range(start, start + 1000)))\n"
    )
    (folder / "train.py").write_text(script)
    with closing(engine.client()) as client:
        container = client.containers.run(
            _IMAGE, ["python3", "-c", script], detach=True, log_config={"type": "json-file"}
        )
        container.wait()
    began = time.monotonic()
    subprocess.run(
        ["docker", "-H", engine.socket_url, "logs", container.id],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    theirs = time.monotonic() - began
    workspace = open_workspace()
    config = ScriptRunConfig(folder, "train.py", compute_target=_TARGET)
    record = submission.submit(workspace, "log", config)
    target = workspace.get_target(_TARGET)
    while not _has_ended(target, record.run_id):
        time.sleep(0.5)
    began = time.monotonic()
    followed, count = sha256(), 0
    for step in progress.follow(workspace, record.run_id):
        followed.update(step.log)
        count += len(step.log)
    ours = time.monotonic() - began
    kept = sha256()
    with (folder_store(workspace).run_folder(record.run_id) / "log").open("rb") as file:
        while content := file.read(2**20):
            kept.update(content)
    expected = sha256()
    for start in range(0, size // 100, 1000):
        expected.update(
            b"".join(b"%07d " % n + b"x" * 91 + b"\n" for n in range(start, start + 1000))
        )
    is_whole = expected.digest() == followed.digest() == kept.digest()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{count / 1e6:.0f} MB of an ended run: followed and kept in {ours:.1f} s")
    print(f"  docker logs of as much, to nowhere: {theirs:.1f} s; ratio {ours / theirs:.2f}")
    print(f"  whole, byte for byte: {is_whole}; peak memory {peak:.0f} MB; to reach: at most 1")


def _has_ended(target: Any, run_id: str) -> bool:
    from airflow_mltrain.runs.status import RunStatus  # noqa: PLC0415
    from airflow_mltrain.targets.base import Seen  # noqa: PLC0415

    seen = Seen(RunStatus.RUNNING, log=2**40)
    return bool(target.observe({run_id: seen}, 1.0)[run_id].status.is_terminal)


_PARTS: dict[str, Callable[[DockerEngine, Path, int], None]] = {
    "submit": _submit,
    "end": _end,
    "waiting": _waiting,
    "log": _log,
}


if __name__ == "__main__":
    main()
