"""Runs on an SSH host, beside what one would use there otherwise, through one real sshd.

`submit`: `execute()` to the first line of the script, beside SSHOperator. `end`: end of a script
to its trigger's event, beside SSHRemoteJobOperator's. `upload`: a project to the host, beside tar
and rsync over ssh. `waiting`: 500 runs waited for at once. `log`: a log of 1 GB. It makes the host
of namespaces, and so needs root.
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
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

_CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_CLONE))

from benchmarks.measuring import (  # noqa: E402
    cpu_seconds,
    make_project,
    moment_in,
    open_workspace,
    resident_bytes,
    show,
    task_context,
)
from tests.services.artifacts import folder_store  # noqa: E402
from tests.services.ssh_host import SshHost  # noqa: E402

_FIRST_LINE = re.compile(r"first line at ([0-9.]+)")
_TARGET = "gpu_box"
_SMALL_FILES, _SMALL_BYTES = 10_000, 2048
_LARGE_BYTES = 100_000_000
_LOG_BYTES = 1_000_000_000


def main() -> None:
    """Run the measurements that are asked for, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=", ".join(_PARTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(_measure_submit(arguments.measure, Path.cwd()))
        return
    own_tmp = (
        "mount -t tmpfs -o mode=1777 tmpfs /tmp"  # SSHRemoteJobOperator leaves its folder there
    )
    with SshHost(mounts=(own_tmp,)) as host, tempfile.TemporaryDirectory() as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
        os.environ["AIRFLOW_HOME"] = f"{folder}/airflow"
        os.environ[f"AIRFLOW_CONN_{_TARGET.upper()}"] = host.connection_json()
        for part in arguments.parts or _PARTS:
            print(f"--- {part}")
            _PARTS[part](host, Path(folder) / part, arguments.rounds)


def _submit(host: SshHost, folder: Path, rounds: int) -> None:
    project = _make_project(folder / "project", host)
    times: dict[str, list[float]] = {"SSHOperator": [], "ours": []}
    for number in range(rounds + 1):
        for operator, measured in times.items():
            command = [sys.executable, __file__, "--measure", operator]
            answer = subprocess.run(command, cwd=project, check=True, stdout=subprocess.PIPE)
            if number:  # the first round makes the database, the bytecode and the agent's folder
                measured.append(float(answer.stdout.split()[-1]))
    show("execute() to the first line", times, "ours", "SSHOperator", "at most 1.5")


def _make_project(project: Path, host: SshHost) -> Path:
    """A project of 100 files here, and its script on the host, where SSHOperator needs it."""
    (host.home / "train.py").write_text(make_project(project))
    return project


def _measure_submit(operator: str, project: Path) -> float:
    from airflow.providers.ssh.operators.ssh import SSHOperator  # noqa: PLC0415

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
        command = "python3 train.py"
        task = SSHOperator(task_id="train", ssh_conn_id=_TARGET, command=command)  # noqa: AIR001
    with contextlib.redirect_stdout(io.StringIO()):
        began = time.time()
        result = task.execute(task_context())
    if operator == "ours":
        printed = (folder_store(open_workspace()).run_folder(result) / "log").read_text()
    else:
        import base64  # noqa: PLC0415

        printed = base64.b64decode(result).decode()
    found = _FIRST_LINE.search(printed)
    assert found is not None, printed
    return float(found[1]) - began


def _end(host: SshHost, folder: Path, rounds: int) -> None:
    from airflow.providers.ssh.operators.ssh_remote_job import (  # noqa: PLC0415
        SSHRemoteJobOperator,
    )

    from airflow_mltrain import ScriptRunConfig, submission  # noqa: PLC0415
    from airflow_mltrain.triggers.training_run import TrainingRunTrigger  # noqa: PLC0415

    folder.mkdir()
    workspace = open_workspace()
    times: dict[str, list[float]] = {"SSHRemoteJobOperator": [], "ours": []}

    async def wait(trigger: Any, mark: str, name: str) -> None:
        async for event in trigger.run():
            if event.payload.get("done", True):  # theirs fires for every piece of log too
                times[name].append(time.time() - moment_in(mark))
                return

    async def measure() -> None:
        waits = []
        for number in range(rounds):
            seconds = random.uniform(8.0, 13.0)  # noqa: S311 - where in a poll it ends
            mark = host.home / f"ended-{number}"
            script = f"sleep {seconds}; date +%s.%N | tee {mark}-$0"
            (folder / "train.sh").write_text(script.replace("$0", "ours"))
            config = ScriptRunConfig(folder, command=["sh", "train.sh"], compute_target=_TARGET)
            record = await asyncio.to_thread(submission.submit, workspace, "end", config)
            ours = TrainingRunTrigger(_TARGET, record.run_id, f"r{number}", is_owner=True)
            waits.append(asyncio.create_task(wait(ours, f"{mark}-ours", "ours")))
            task = SSHRemoteJobOperator(
                task_id=f"end_{number}",
                ssh_conn_id=_TARGET,
                command=script.replace("$0", "theirs"),
            )
            deferred = await asyncio.to_thread(_defer, task)
            theirs = wait(deferred, f"{mark}-theirs", "SSHRemoteJobOperator")
            waits.append(asyncio.create_task(theirs))
            await asyncio.sleep(0.7)  # each of theirs logs in for itself, all at once are dropped
        await asyncio.gather(*waits)

    with contextlib.redirect_stdout(io.StringIO()):
        asyncio.run(measure())
    show("end of the script to the event", times, "ours", "SSHRemoteJobOperator", "under 0.3 s")


def _defer(task: Any) -> Any:
    from airflow.sdk.exceptions import TaskDeferred  # noqa: PLC0415

    try:
        task.execute(task_context())
    except TaskDeferred as deferred:
        return deferred.trigger
    raise AssertionError("it did not defer")


def _upload(host: SshHost, folder: Path, rounds: int) -> None:
    rounds = min(rounds, 5)
    folder.mkdir()
    cold = _ssh(host)
    control = ["-o", f"ControlPath={folder}/control"]
    warm = _ssh(host, *control, "-o", "ControlMaster=auto", "-o", "ControlPersist=300")
    subprocess.run([*warm, host.address, "true"], check=True)
    trees = {"10,000 files of 2 kB": folder / "small", "one file of 100 MB": folder / "large"}
    _make_small_files(trees["10,000 files of 2 kB"])
    trees["one file of 100 MB"].mkdir()
    (trees["one file of 100 MB"] / "weights.bin").write_bytes(os.urandom(_LARGE_BYTES))
    for name, tree in trees.items():
        times: dict[str, list[float]] = {
            word: [] for word in ("tar | ssh tar", "ours", "tar | ssh tar, kept", "ours, kept")
        }
        for number in range(rounds):
            for ssh, label in ((cold, "tar | ssh tar"), (warm, "tar | ssh tar, kept")):
                place = _new_folder(host)
                with _timed(times[label]):
                    _pipe(
                        ["tar", "-C", str(tree), "-c", "."],
                        [*ssh, host.address, f"tar -C {place} -x"],
                    )
            for label in ("ours", "ours, kept"):
                root = _new_folder(host)
                target = _target_at(root, host, is_kept="kept" in label)
                blobs = _stored(tree, folder / f"store-{number}-{label[5:]}")
                with _timed(times[label]):
                    _send(target, *blobs)
                target._keeper.close()  # noqa: SLF001 - the next one begins anew
        show(f"{name}, first upload", times, "ours", "tar | ssh tar", "at most 1.2")
        show(f"{name}, kept connection", times, "ours, kept", "tar | ssh tar, kept", "at most 1.2")
    _changed(host, folder, warm, rounds)


def _changed(host: SshHost, folder: Path, warm: list[str], rounds: int) -> None:
    """One file of 10,000 is another, and the whole project goes into a new folder there."""
    tree = folder / "small"
    target = _target_at(_new_folder(host), host, is_kept=True)
    store = folder / "store-changed"
    _send(target, *_stored(tree, store))
    rsync = ["rsync", "-a", "-e", " ".join(warm)]
    last = _new_folder(host)
    address = host.address
    subprocess.run([*rsync, f"{tree}/", f"{address}:{last}/"], check=True)
    words = ("rsync --link-dest", "ours", "ours, to its first line", "ours, unchanged")
    times: dict[str, list[float]] = {word: [] for word in words}
    for number in range(rounds):
        (tree / "d00" / "f0.txt").write_text(f"changed {number}\n" * 100)
        place = _new_folder(host)
        with _timed(times["rsync --link-dest"]):
            link = f"--link-dest={last}"
            subprocess.run([*rsync, link, f"{tree}/", f"{address}:{place}/"], check=True)
        last = place
        snapshot_id, blobs = _stored(tree, store)
        with _timed(times["ours, to its first line"]):
            with _timed(times["ours"]):
                _send(target, snapshot_id, blobs)
            _run_in(target, snapshot_id, number)
        with _timed(times["ours, unchanged"]):
            _send(target, snapshot_id, blobs)
    title = "one of 10,000 files changed, kept connection"
    show(title, times, "ours, to its first line", "rsync --link-dest", "at most 1")
    print("  unchanged, to reach: under 0.15 s")


def _run_in(target: Any, snapshot_id: str, number: int) -> None:
    from airflow_mltrain.runs.status import RunStatus  # noqa: PLC0415
    from airflow_mltrain.targets.base import Job, Seen  # noqa: PLC0415

    run_id = f"changed_{number}"
    target.start(Job(run_id, snapshot_id, ("echo", "first line")))
    while not target.observe({run_id: Seen(RunStatus.PREPARING)}, 5.0)[run_id].log:
        pass


def _waiting(host: SshHost, folder: Path, _: int) -> None:
    """CPU and memory of a process with 500 triggers, after all of them have begun to wait."""
    from airflow_mltrain import ScriptRunConfig, submission  # noqa: PLC0415
    from airflow_mltrain.triggers.training_run import TrainingRunTrigger  # noqa: PLC0415

    count, seconds = 500, 20.0
    folder.mkdir()
    (folder / "train.sh").write_text("exec sleep 100000\n")
    workspace = open_workspace()
    config = ScriptRunConfig(folder, command=["sh", "train.sh"], compute_target=_TARGET)
    with ThreadPoolExecutor(4) as pool:
        submits = [pool.submit(submission.submit, workspace, "wait", config) for _ in range(count)]
        run_ids = [submit.result().run_id for submit in submits]

    async def follow(trigger: Any) -> None:
        async for _ in trigger.run():
            return

    async def measure() -> None:
        waits = []
        before = resident_bytes()
        for run_id in run_ids:
            trigger = TrainingRunTrigger(_TARGET, run_id, f"r/{run_id}", is_owner=True)
            waits.append(asyncio.create_task(follow(trigger)))
        await asyncio.sleep(15)
        used, agents = cpu_seconds(), _agent_seconds(host)
        await asyncio.sleep(seconds)
        share = (cpu_seconds() - used) / seconds
        host_share = (_agent_seconds(host) - agents) / seconds
        memory = (resident_bytes() - before) / count
        print(f"{count} waiting runs: {host.established_connections()} connection(s)")
        print(f"  CPU of a core: {share:.1%} (to reach: under 5%), on the host {host_share:.1%}")
        print(f"  memory a run: {memory / 1000:.0f} kB (to reach: under 100 kB)")
        for wait in waits:
            wait.cancel()

    asyncio.run(measure())
    target = workspace.get_target(_TARGET)
    for run_id in run_ids:
        target.cancel(run_id)


def _log(host: SshHost, folder: Path, _: int) -> None:
    """From the start of a script that prints 1 GB to the end of its run, log kept."""
    from airflow_mltrain import ScriptRunConfig, progress, submission  # noqa: PLC0415

    folder.mkdir()
    script = (
        "import random, sys\n"
        "random.seed(1)\n"
        "block = b''.join(b'%032x %d\\n' % (random.getrandbits(128), n) for n in range(25_000))\n"
        f"for _ in range({_LOG_BYTES} // len(block)):\n"
        "    sys.stdout.buffer.write(block)\n"
    )
    (folder / "train.py").write_text(script)
    workspace = open_workspace()
    config = ScriptRunConfig(folder, "train.py", compute_target=_TARGET)
    began = time.monotonic()
    record = submission.submit(workspace, "log", config)
    followed, size = sha256(), 0
    for step in progress.follow(workspace, record.run_id, wait_seconds=1.0):
        followed.update(step.log)
        size += len(step.log)
    elapsed = time.monotonic() - began
    kept, there = sha256(), sha256()
    for path, digest in (
        (folder_store(workspace).run_folder(record.run_id) / "log", kept),
        (host.home / ".mltrain" / "runs" / record.run_id / "log", there),
    ):
        with path.open("rb") as file:
            while content := file.read(2**20):
                digest.update(content)
    is_whole = followed.digest() == kept.digest() == there.digest()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{size / 1e6:.0f} MB in {elapsed:.1f} s: {size / elapsed / 1e6:.0f} MB/s, followed and")
    print(f"  kept; whole, byte for byte: {is_whole}; peak memory {peak:.0f} MB")


_PARTS: dict[str, Callable[[SshHost, Path, int], None]] = {
    "submit": _submit,
    "end": _end,
    "upload": _upload,
    "waiting": _waiting,
    "log": _log,
}


@contextmanager
def _timed(measured: list[float]) -> Iterator[None]:
    began = time.monotonic()
    yield
    measured.append(time.monotonic() - began)


def _ssh(host: SshHost, *options: str) -> list[str]:
    command = ["ssh", "-F", "none", "-i", str(host.private_key_file), "-p", str(host.port)]
    for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"):
        command += ["-o", option]
    return [*command, *options, "-l", host.user]


def _pipe(source: list[str], sink: list[str]) -> None:
    with subprocess.Popen(source, stdout=subprocess.PIPE) as sender:
        subprocess.run(sink, stdin=sender.stdout, check=True)


def _new_folder(host: SshHost) -> Path:
    """Ext4 takes long to use the place of files that were just deleted: always a new one."""
    return host.make_shared_folder()


def _make_small_files(tree: Path) -> None:
    for number in range(_SMALL_FILES):
        path = tree / f"d{number % 100:02}" / f"f{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        words = [f"{number} {random.random()}" for _ in range(100)]  # noqa: S311 - no secret
        path.write_text(" ".join(words)[:_SMALL_BYTES])


def _target_at(root: Path, host: SshHost, *, is_kept: bool) -> Any:
    """A target at a root of its own; one that is kept has logged in."""
    from airflow_mltrain.settings import read_settings  # noqa: PLC0415
    from airflow_mltrain.targets.registry import connect  # noqa: PLC0415

    os.environ["AIRFLOW_CONN_UPLOAD"] = host.connection_json(mltrain={"root": f"{root}/root"})
    if not is_kept:  # the job agent is there already, as on any day but the first
        connect("upload", read_settings())._keeper.session().close()  # type: ignore[attr-defined]  # noqa: SLF001
    target = connect("upload", read_settings())
    if is_kept:
        assert target.place
    return target


def _stored(tree: Path, store: Path) -> tuple[str, dict[str, Path]]:
    """A snapshot of the tree, and its blobs by digest."""
    from airflow_mltrain.snapshots.blob_store import BlobStore  # noqa: PLC0415
    from airflow_mltrain.snapshots.snapshot import take_snapshot  # noqa: PLC0415

    blobs = BlobStore(store)
    index = store.with_name(store.name + "-index")
    snapshot = take_snapshot(tree, blobs, index_directory=index, max_bytes=10**10)
    digests = {entry.sha256 for entry in snapshot.manifest.entries if entry.sha256}
    digests.add(snapshot.snapshot_id)
    return snapshot.snapshot_id, {digest: blobs.path(digest) for digest in digests}


def _send(target: Any, snapshot_id: str, blobs: dict[str, Path]) -> None:
    missing = target.missing_of_snapshot(snapshot_id)
    if missing is None:
        missing = target.missing(blobs)
    target.upload({digest: blobs[digest] for digest in missing})


def _agent_seconds(host: SshHost) -> float:
    """What the job agents that answer over SSH have used."""
    total = 0
    for pid in host.processes():
        with contextlib.suppress(OSError):
            if b"stdin.buffer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
