"""What goes over the line to a driver, its job, and what comes back: log, metrics, outputs."""

import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional

from ..blobs import snapshots_of
from ..checkout import blobs_of
from ..environment import archive
from ..folder import TERMINAL, JobFolder
from ..received_tree import ReceivedTree
from ..shipment import blob_parts, in_parts
from ..spark.launcher import say
from .line import Line

_OBSERVE_SECONDS = 0.5


class Delivery:
    """One job on its way to whichever driver runs it; every step may be repeated."""

    def __init__(
        self,
        folder: JobFolder,
        spec: Dict[str, Any],
        secrets: Dict[str, Any],
        tree: Optional[str],
        *,
        is_inside: bool,
    ) -> None:
        """`tree` is the environment's folder; a script that is inside has its Java already."""
        self._folder, self._spec, self._secrets = folder, spec, secrets
        self._is_inside = is_inside
        self._job_id = folder.run_id + ".driver"  # told apart from this one on a shared machine
        self._archive = None if tree is None else archive.path_of(tree)
        self._archive_digest: Optional[str] = None
        self._blobs: Dict[str, Path] = {}
        self._seen: Dict[str, Any] = {
            "status": "NotStarted",
            "log": 0,
            "metrics": 0,
            "environment_key": None,
        }

    def gather(self) -> None:
        """Find what is to be sent, which takes long, before a driver waits for it."""
        blobs, digests = Path(self._folder.blobs), []
        for snapshot_id in snapshots_of(self._spec):
            manifest = blobs / snapshot_id[:2] / snapshot_id
            digests += [snapshot_id, *blobs_of(manifest.read_bytes())]
        self._blobs = {one: blobs / one[:2] / one for one in digests}
        if self._archive is not None:
            self._archive_digest = _digest(self._archive)
            self._blobs[self._archive_digest] = Path(self._archive)

    def send_files(self, line: Line, check: Callable[[], None]) -> None:
        """Send what the driver lacks; `check` raises what is to end that."""
        lacking = _ask_missing(line, list(self._blobs))
        if lacking:
            parts = blob_parts({one: self._blobs[one] for one in lacking}, None)
            line.ask("upload", _checked(parts, check))

    def lay_down(self, line: Line) -> bool:
        """Give the driver its job unless it has it; False where it lacks what that needs."""
        told = dict(
            self._spec["spark"],
            manager=None,
            archive=self._archive_digest,
            is_inside=self._is_inside,
        )
        variables = dict(
            self._spec["environment_variables"], MLTRAIN_DRIVER_OF=self._folder.run_id
        )
        spec = dict(
            self._spec,
            run_id=self._job_id,
            blobs=[],
            environment=None,
            environment_variables=variables,
            max_run_duration_seconds=None,  # it is counted here
            lease_seconds=None,  # as this is
            max_concurrent_runs=None,
            gpus=None,
            cancel_grace_seconds=told["driver_grace_seconds"],
            spark=told,
        )
        return bool(line.ask("lay_down", spec=spec, secrets=self._secrets))

    def cancel(self, line: Line) -> None:
        """Have the driver stop the job."""
        line.ask("cancel", run_id=self._job_id)

    def discard(self, line: Line) -> None:
        """Have the driver remove the job, which ends it."""
        line.ask("discard", run_id=self._job_id)

    def observe(self, line: Line) -> Optional[Dict[str, Any]]:
        """The job's state, once what is new of its log and metrics is here; None without one."""
        question = line.asking(
            "observe",
            view=1,
            changed={self._job_id: dict(self._seen)},
            dropped=[],
            wait_seconds=_OBSERVE_SECONDS,
        )
        content = b"".join(question.parts())
        state: Optional[Dict[str, Any]] = question.result["states"].get(self._job_id)
        if state is None:
            return None
        log, metrics = content[: state["log"]], content[state["log"] :]
        _write_all(1, log)
        if metrics:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._folder.metrics, flags, 0o600)
            try:
                _write_all(descriptor, metrics)
            finally:
                os.close(descriptor)
        self._seen["status"] = state["status"]
        self._seen["log"] += len(log)
        self._seen["metrics"] += len(metrics)
        return state

    def is_whole(self, state: Dict[str, Any]) -> bool:
        """Whether the job has ended, and all of its log and metrics is here."""
        return bool(
            state["status"] in TERMINAL
            and self._seen["log"] >= state["log_bytes"]
            and self._seen["metrics"] >= state["metrics_bytes"]
        )

    def fetch(self, line: Line) -> None:
        """Have the driver's outputs and logs where those of other jobs are."""
        received = Path(self._folder.path, "received")
        shutil.rmtree(str(received), ignore_errors=True)
        received.mkdir()
        tree = ReceivedTree(received)
        question = line.asking("fetch", (b"{}",), run_id=self._job_id, with_log=False)
        tree.take(question.parts())
        tree.finish()
        for name, place in (
            ("outputs", self._folder.outputs),
            ("logs", self._folder.watched_logs),
        ):
            if (received / name).exists():
                shutil.rmtree(place, ignore_errors=True)
                os.makedirs(os.path.dirname(place), exist_ok=True)
                os.rename(str(received / name), place)
        shutil.rmtree(str(received), ignore_errors=True)
        if question.result:
            say("left behind on the worker: {}".format(", ".join(question.result)))


def _ask_missing(line: Line, digests: List[str]) -> List[str]:
    packed = b"".join(map(bytes.fromhex, digests))
    content = b"".join(line.asking("missing", in_parts(packed)).parts())
    return [content[at : at + 32].hex() for at in range(0, len(content), 32)]


def _checked(parts: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    for part in parts:
        check()
        yield part


def _digest(path: str) -> str:
    import hashlib  # noqa: PLC0415  # dear at start-up

    found = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1024 * 1024), b""):
            found.update(piece)
    return found.hexdigest()


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
