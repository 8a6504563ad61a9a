"""The verbs on a bare machine: an old Python, and the same answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.runtime.job_agent import verbs
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.snapshot import take_snapshot
from tests.services.jobs import pids_carrying, wait_for
from tests.services.requirement import require

if TYPE_CHECKING:
    from collections.abc import Iterator

_RUNTIME = Path(verbs.__file__).parents[1]
_OLDEST = Path.home() / ".pyenv" / "versions" / "3.8.18" / "bin" / "python"
_CONVERSATION = """
import json, sys
sys.path.insert(0, sys.argv[1])
from job_agent import verbs
root, spec = sys.argv[2], json.loads(sys.argv[3])
verbs.start(root, spec, {"PATH": "/usr/bin:/bin"})
run_id, log = spec["run_id"], b""
seen = {"status": "NotStarted", "log": 0, "metrics": 0, "environment_key": None}
while True:
    state = verbs.observe(root, {run_id: seen}, 5)[run_id]
    log += state["log"]
    seen = {"status": state["status"], "log": len(log), "metrics": 0, "environment_key": None}
    if state["status"] in ("Completed", "Failed", "Canceled") and len(log) == state["log_bytes"]:
        break
print(state["status"], state["reason"], log.decode())
verbs.cancel(root, run_id)
verbs.discard(root, run_id)
print(verbs.observe(root, {run_id: seen}, 0))
"""


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A job that prints and logs a metric, its snapshot laid ready below `tmp_path`/root."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text(
        "import mltrain, sys\nmltrain.Run.get_context().log('x', 1)\nprint(sys.version_info[:2])\n"
    )
    store = BlobStore(tmp_path / "root" / "blobs")
    snapshot = take_snapshot(source, store, index_directory=tmp_path / "index", max_bytes=10**6)
    run_id = f"run-{os.getpid()}-{tmp_path.name.replace('[', '-').replace(']', '')}"
    yield {
        "run_id": run_id,
        "snapshot_id": snapshot.snapshot_id,
        "blobs": [],
        "argv": [sys.executable, "train.py"],
        "environment_variables": {},
        "max_run_duration_seconds": 30,
        "cancel_grace_seconds": 0.1,
        "max_concurrent_runs": 1,
        "gpus": None,
        "training_modules": str(_RUNTIME / "training"),
        "environment": None,
        "spark": None,
    }
    wait_for(lambda: not pids_carrying(run_id))


def test_the_oldest_supported_python_runs_a_job(tmp_path: Path, spec: dict[str, Any]) -> None:
    import json  # noqa: PLC0415

    if not _OLDEST.exists():
        require("python3.8", f"there is no {_OLDEST}")
    spec["argv"] = [str(_OLDEST), "train.py"]

    answer = subprocess.run(
        [_OLDEST, "-c", _CONVERSATION, str(_RUNTIME), str(tmp_path / "root"), json.dumps(spec)],
        capture_output=True,
        check=False,
        text=True,
    )

    assert (answer.stdout, answer.stderr) == ("Completed None (3, 8)\n\n{}\n", "")


def test_a_supervisor_that_cannot_begin_says_why(tmp_path: Path, spec: dict[str, Any]) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\necho this python is broken >&2\nexit 1\n")
    interpreter.chmod(0o755)

    with pytest.raises(verbs.StartError, match="this python is broken"):
        verbs.start(str(tmp_path / "root"), spec, {"PATH": os.environ["PATH"]}, str(interpreter))


def test_a_start_that_failed_may_be_repeated(tmp_path: Path, spec: dict[str, Any]) -> None:
    root = str(tmp_path / "root")
    with pytest.raises(verbs.StartError, match="No such file"):
        verbs.start(root, spec, {}, "/no/such/python")

    verbs.start(root, spec, {"PATH": os.environ["PATH"]})

    seen = {spec["run_id"]: {"status": "Running", "log": 0, "metrics": 0, "environment_key": None}}
    wait_for(lambda: verbs.observe(root, seen, 1)[spec["run_id"]]["status"] == "Completed")


def test_a_place_stays_the_same_and_two_roots_are_two_places(tmp_path: Path) -> None:
    one, other = str(tmp_path / "one"), str(tmp_path / "other")

    assert verbs.place(one) == verbs.place(one) != verbs.place(other)
