"""A blob that a power cut spoilt: the run says so, and the next submission mends it."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from tests.services.agent_process import AgentProcess
from tests.services.jobs import JobBench, wait_until_ended

if TYPE_CHECKING:
    from pathlib import Path

_SCRIPT = "print('trained')\n"


def test_a_blob_that_was_cut_short_is_named_and_sent_again(tmp_path: Path) -> None:
    # given
    bench = JobBench(tmp_path / "bench")
    target = AgentProcess(tmp_path / "root").target()
    wait_until_ended(target, bench.python(target, _SCRIPT))
    digest = sha256(_SCRIPT.encode()).hexdigest()
    (tmp_path / "root" / "blobs" / digest[:2] / digest).write_bytes(b"")

    # when
    spoilt = wait_until_ended(target, bench.python(target, _SCRIPT))
    mended = wait_until_ended(target, bench.python(target, _SCRIPT))

    # then
    assert spoilt.status is RunStatus.FAILED
    assert f"blob {digest} is damaged" in str(spoilt.reason)
    assert "submit again" in str(spoilt.reason)
    assert mended.status is RunStatus.COMPLETED, mended


@pytest.mark.parametrize("left", [b"", b"\0" * 100, None])
def test_a_manifest_that_was_cut_short_is_sent_again(tmp_path: Path, left: bytes | None) -> None:
    # given
    bench = JobBench(tmp_path / "bench")
    target = AgentProcess(tmp_path / "root").target()
    job = bench.job(target, "python3", "train.py", files={"train.py": _SCRIPT})
    manifest = tmp_path / "root" / "blobs" / job.snapshot_id[:2] / job.snapshot_id
    manifest.write_bytes(manifest.read_bytes()[:-20] if left is None else left)

    # when
    is_started_before = target.start(job)
    bench.send(target, job)
    is_started = target.start(job)

    # then
    assert (is_started_before, is_started) == (False, True)
    assert wait_until_ended(target, job.run_id).log == b"trained\n"
