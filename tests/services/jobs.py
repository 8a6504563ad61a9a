"""Jobs on a compute target: submitting scripts, following them, and the processes they leave."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.manifest import Manifest
from airflow_mltrain.snapshots.snapshot import take_snapshot
from airflow_mltrain.targets.base import ComputeTarget, Job, JobState, Seen
from tests.services.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_EXCHANGE_SECONDS = 1.0
_END_SECONDS = 60.0
TERMINAL = tuple(status for status in RunStatus if status.is_terminal)


@dataclass
class JobBench:
    """A desk to submit scripts from; it knows every run id it gave away."""

    folder: Path
    run_ids: list[str] = field(default_factory=list)

    @property
    def outside(self) -> Path:
        """A folder that scripts may write to and that no target knows."""
        path = self.folder / "outside"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def job(
        self,
        target: ComputeTarget,
        *argv: str,
        files: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> Job:
        """A job that is ready to start: its snapshot of `files` is on the target."""
        job = self.unsent_job(*argv, files=files, **facts)
        self.send(target, job)
        return job

    def send(self, target: ComputeTarget, job: Job) -> None:
        """Upload what the target lacks for a job."""
        store = BlobStore(self.folder / "artifacts")
        manifest = Manifest.decode(store.read(job.snapshot_id))
        needed = {entry.sha256 for entry in manifest.entries if entry.sha256}
        missing = target.missing({job.snapshot_id, *needed})
        target.upload({digest: store.path(digest) for digest in missing})

    def unsent_job(self, *argv: str, files: Mapping[str, str] | None = None, **facts: Any) -> Job:
        """A job whose snapshot is only here."""
        source = self.folder / f"source-{uuid4().hex}"
        source.mkdir(parents=True)
        for name, text in (files or {}).items():
            (source / name).write_text(text)
        store = BlobStore(self.folder / "artifacts")
        snapshot = take_snapshot(
            source, store, index_directory=self.folder / "index", max_bytes=10**9
        )
        run_id = f"run-{uuid4().hex}"
        self.run_ids.append(run_id)
        variables = {"OUTSIDE": str(self.outside), **facts.pop("environment_variables", {})}
        return Job(
            run_id=run_id,
            snapshot_id=snapshot.snapshot_id,
            argv=argv,
            environment_variables=variables,
            **{"cancel_grace_seconds": 0.3, **facts},
        )

    def is_running(self, pid: int) -> bool:
        """Whether a process lives, by the number that a script knows it under."""
        return is_running(pid)

    def shell(self, target: ComputeTarget, script: str, **facts: Any) -> str:
        """Start a shell script; its run id."""
        job = self.job(target, "sh", "-c", script, **facts)
        target.start(job)
        return job.run_id

    def python(self, target: ComputeTarget, script: str, *arguments: str, **facts: Any) -> str:
        """Start a Python script; its run id."""
        job = self.job(
            target, "python3", "train.py", *arguments, files={"train.py": script}, **facts
        )
        target.start(job)
        return job.run_id


def follow(
    target: ComputeTarget,
    run_id: str,
    until: Callable[[JobState], bool],
    seconds: float = PATIENCE_SECONDS,
) -> JobState:
    """Observe a job until `until` holds for its state, which has the whole log and all metrics."""
    deadline = time.monotonic() + seconds
    whole = JobState(RunStatus.NOT_STARTED)
    while time.monotonic() < deadline:
        key = whole.environment["key"] if whole.environment else None
        seen = Seen(whole.status, len(whole.log), len(whole.metrics), key)
        found = target.observe({run_id: seen}, _EXCHANGE_SECONDS).get(run_id)
        if found is None:
            continue
        whole = found._replace(
            log=whole.log + found.log,
            metrics=whole.metrics + found.metrics,
            environment=found.environment or whole.environment,
        )
        if until(whole):
            return whole
    message = f"in {seconds} seconds the job came no further than {whole!r:.3000}"
    raise AssertionError(message)


def wait_until(target: ComputeTarget, run_id: str, *statuses: RunStatus) -> JobState:
    """Observe a job until it is in one of these statuses; a terminal one has all its log."""

    def has_arrived(state: JobState) -> bool:
        is_whole = len(state.log) >= (state.log_bytes or 0)
        return is_whole and state.status in statuses

    return follow(target, run_id, has_arrived)


def wait_until_ended(target: ComputeTarget, run_id: str) -> JobState:
    """Observe a job until it has ended; with all its log."""
    return wait_until(target, run_id, *TERMINAL)


def wait_for_log(target: ComputeTarget, run_id: str, text: bytes) -> JobState:
    """Observe a job until its log has this text; fails if it ends without."""

    def has_spoken(state: JobState) -> bool:
        assert text in state.log or not state.status.is_terminal, state
        return text in state.log

    return follow(target, run_id, has_spoken)


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Return once the condition holds; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} seconds"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether the process lives; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def pids_carrying(*run_ids: str) -> list[int]:
    """The live processes that carry one of these run ids in their environment."""
    tags = {f"MLTRAIN_RUN_ID={run_id}".encode() for run_id in run_ids}
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and tags.intersection(
                (entry / "environ").read_bytes().split(b"\0")
            ):
                found.append(int(entry.name))
    return [pid for pid in found if is_running(pid)]


def kill_supervisor(root: Path, run_id: str, number: int = signal.SIGKILL) -> None:
    """Send a signal to the process that looks after a job of this machine."""
    state = json.loads((root / "runs" / run_id / "state.json").read_text())
    os.kill(state["supervisor"]["pid"], number)


@contextmanager
def shared_bench(folder: Path) -> Iterator[JobBench]:
    """A bench whose scripts run as another user, who may write outside too; quiet in the end."""
    bench = JobBench(folder)
    bench.outside.chmod(0o777)
    yield bench
    require_quiet(bench)


def require_quiet(bench: JobBench) -> None:
    """Fail if anything the bench started still runs, and stop it."""
    deadline = time.monotonic() + _END_SECONDS
    while (left := pids_carrying(*bench.run_ids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left, f"processes outlived their test: {left}"
