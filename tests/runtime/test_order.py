"""A container's main process, which is sent its job, or finds it laid down by somebody else."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_mltrain.runtime.job_agent import handover
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.runtime.job_agent.order_answer import CLAIMED, LACKING
from airflow_mltrain.runtime.job_agent.secret import Secrets
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.snapshot import take_snapshot
from tests.services.jobs import pids_carrying, wait_for

_RUNTIME = Path(handover.__file__).parents[1]
_MAIN = """
import sys
sys.path.insert(0, sys.argv[1])
from job_agent.container import main
sys.exit(main(sys.argv[2], sys.argv[3], None, is_ordered=sys.argv[4] == "ordered"))
"""
_SCRIPT = "import sys\nprint('read', repr(sys.stdin.read()))\n"
_NOTHING_TO_DO = 75
_SECRET = "s3cret-of-the-index"  # noqa: S105 - it is none


class Box:
    """A process as a container would have it, on a root folder of its own, and a job for it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self._folder = folder
        source = folder / "source"
        source.mkdir()
        (source / "train.py").write_text(_SCRIPT)
        self.store = BlobStore(folder / "store")
        self.snapshot_id = take_snapshot(
            source, self.store, index_directory=folder / "index", max_bytes=10**6
        ).snapshot_id
        self.run_id = f"run-{uuid4().hex}"
        self.spec = {
            "run_id": self.run_id,
            "snapshot_id": self.snapshot_id,
            "blobs": [],
            "argv": [sys.executable, "train.py"],
            "environment_variables": {},
            "max_run_duration_seconds": 30,
            "cancel_grace_seconds": 0.1,
            "max_concurrent_runs": None,
            "gpus": None,
            "environment": None,
            "facts": {},
            "previous_outputs": None,
            "spark": None,
            "has_secrets": False,
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def begin(self, *, is_ordered: bool = True) -> subprocess.Popen[bytes]:
        """The process, which has yet to be told what to do."""
        words = [str(_RUNTIME), str(self.root), self.run_id, "ordered" if is_ordered else "-"]
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _MAIN, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._processes.append(process)
        return process

    def send_blobs(self) -> None:
        """Bring what the job needs."""
        for path in (self._folder / "store").glob("??/*"):
            blob = self.root / "blobs" / path.parent.name / path.name
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(path.read_bytes())

    def order(self, **changes: Any) -> bytes:
        """The line that says what to do."""
        log = base64.b64encode(b"prepared\n").decode()
        order = {"spec": self.spec, "log": log, "secrets": None, "uv": None, **changes}
        return json.dumps(order).encode() + b"\n"

    def lay_down(self, secrets: Secrets | None = None) -> bool:
        """Leave the job as a job agent of another container does."""
        spec = handover.complete(str(self.root), self.spec)
        return handover.lay_down(str(self.root), spec, secrets=secrets)

    @property
    def job(self) -> JobFolder:
        """What is kept of the job."""
        return JobFolder(str(self.root), self.run_id)

    @property
    def log(self) -> str:
        """The job's log."""
        return Path(self.job.log).read_text()

    def close(self) -> None:
        """Leave no process."""
        for process in self._processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):
                    if stream is not None:
                        stream.close()


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """One for each test."""
    box = Box(tmp_path)
    yield box
    box.close()
    wait_for(lambda: not pids_carrying(box.run_id))


def answer_to(process: subprocess.Popen[bytes], *parts: bytes) -> bytes:
    """What it says to what is sent, part by part."""
    assert process.stdin is not None
    assert process.stdout is not None
    for part in parts:
        process.stdin.write(part)
        process.stdin.flush()
    return process.stdout.readline()


@pytest.mark.parametrize("pieces", [1, 2, 40])
def test_a_job_that_is_sent_is_claimed_and_run(box: Box, pieces: int) -> None:
    # given
    box.send_blobs()
    process = box.begin()
    order = box.order()
    step = len(order) // pieces + 1

    # when
    answer = answer_to(process, *(order[at : at + step] for at in range(0, len(order), step)))

    # then
    assert answer == CLAIMED
    assert process.wait(20) == 0
    assert box.log == "prepared\nread ''\n"


def test_an_order_of_megabytes_arrives_whole(box: Box) -> None:
    box.send_blobs()
    log = base64.b64encode(b"x" * 4_000_000).decode()

    answer = answer_to(box.begin(), box.order(log=log))

    assert answer == CLAIMED
    wait_for(lambda: box.log.endswith("read ''\n"))
    assert len(box.log) == 4_000_000 + len("read ''\n")


def test_a_job_that_lacks_blobs_is_not_taken_before_they_are_there(box: Box) -> None:
    # given
    process = box.begin()
    answer = answer_to(process, box.order())
    is_there_before = Path(box.job.path).exists()

    # when
    box.send_blobs()
    is_laid_down = box.lay_down()

    # then
    assert (answer, is_there_before, is_laid_down) == (LACKING, False, True)
    assert answer_to(process) == CLAIMED
    assert process.wait(20) == 0
    assert box.log == "read ''\n"


def test_an_order_that_never_ends_is_given_up_and_the_job_can_be_laid_down(box: Box) -> None:
    # given
    box.send_blobs()
    process = box.begin()

    # when
    with pytest.raises(BrokenPipeError):
        answer_to(process, *[b"x" * 1_000_000] * 80)
    answer = answer_to(process)
    box.lay_down()

    # then
    assert answer == LACKING
    assert process.wait(60) == 0
    assert box.log == "read ''\n"


@pytest.mark.parametrize("sent", ["half", "twice", "other"])
def test_what_is_no_order_is_not_followed_and_the_job_can_be_laid_down(
    box: Box, sent: str
) -> None:
    # given
    box.send_blobs()
    process = box.begin()
    order = box.order()
    told = {"half": order[40:], "twice": order + order, "other": b"\xff\n"}[sent]

    # when
    answer = answer_to(process, told)
    is_there = Path(box.job.path).exists()
    box.lay_down()

    # then
    assert (answer, is_there) == (LACKING, False)
    assert process.wait(20) == 0
    assert box.log == "read ''\n"


@pytest.mark.parametrize("is_ordered", [True, False])
def test_a_sender_that_dies_without_a_word_is_succeeded_by_another(
    box: Box, *, is_ordered: bool
) -> None:
    # given
    box.send_blobs()
    process = box.begin(is_ordered=is_ordered)
    assert process.stdin is not None
    process.stdin.close()

    # when
    box.lay_down()

    # then
    assert process.wait(20) == 0
    assert box.log == "read ''\n"


def test_a_second_process_for_the_same_job_has_nothing_to_do(box: Box) -> None:
    box.send_blobs()
    first = box.begin()
    answer_to(first, box.order())
    first.wait(20)

    second = box.begin()

    assert second.wait(20) == _NOTHING_TO_DO
    assert box.log == "prepared\nread ''\n"


def test_a_job_that_is_canceled_before_it_comes_is_waited_for_no_longer(box: Box) -> None:
    process = box.begin()
    box.job.mark_canceled()

    assert process.wait(20) == _NOTHING_TO_DO


def test_a_canceled_job_that_is_on_its_way_is_recorded_as_canceled(box: Box) -> None:
    # given
    box.send_blobs()
    box.job.mark_canceled()
    process = box.begin()

    # when
    answer = answer_to(process, box.order())
    process.wait(20)

    # then
    state = box.job.read_state()
    assert answer == CLAIMED
    assert state is not None
    assert state["status"] == "Canceled"
    assert box.log == "prepared\n"


def test_secrets_that_come_with_a_job_are_on_no_disk(box: Box) -> None:
    box.send_blobs()
    process = box.begin()

    answer = answer_to(process, box.order(secrets={"indexes": {"index.example": ["me", _SECRET]}}))
    process.wait(20)

    files = [path for path in box.root.rglob("*") if path.is_file()]
    assert answer == CLAIMED
    assert files
    assert not [path for path in files if _SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize("way", ["ordered", "laid down"])
def test_a_job_whose_secrets_died_with_who_had_them_waits_for_them(box: Box, way: str) -> None:
    # given
    box.send_blobs()
    box.spec["argv"] = ["sh", "-c", "echo $TOKEN"]
    box.spec["has_secrets"] = True
    box.lay_down()
    secrets = {"variables": {"TOKEN": _SECRET}}

    # when
    process = box.begin()
    if way == "ordered":
        answer_to(process, box.order(secrets=secrets))
    else:
        box.lay_down(secrets)

    # then
    assert process.wait(20) == 0
    assert box.log == _SECRET + "\n"
    assert not Path(box.job.secrets).exists()


def test_a_second_process_does_not_wait_for_secrets_of_a_job_that_was_claimed(box: Box) -> None:
    box.send_blobs()
    box.spec["has_secrets"] = True
    first = box.begin()
    answer_to(first, box.order(secrets={"variables": {"TOKEN": _SECRET}}))
    first.wait(20)

    second = box.begin()

    assert second.wait(20) == _NOTHING_TO_DO


def test_a_full_disk_is_left_to_be_said_by_who_is_asked(box: Box) -> None:
    # given
    box.send_blobs()
    process = box.begin()
    (box.root / "runs").write_text("in the way of every run's folder")

    # when
    answer = answer_to(process, box.order())
    (box.root / "runs").unlink()
    box.lay_down()

    # then
    assert answer == LACKING
    assert process.wait(20) == 0
