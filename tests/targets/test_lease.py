"""Jobs that must not be left alone, on this machine and on hosts."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.local import LocalTarget
from tests.contracts.target_lease import LEASE_SECONDS, LeaseContract
from tests.services.jobs import (
    JobBench,
    wait_for,
    wait_for_log,
    wait_until,
    wait_until_ended,
)
from tests.targets.ssh_fixtures import SshFixtures

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.targets.base import ComputeTarget

_UNTIL_RELEASED = 'while [ ! -e "$OUTSIDE/release" ]; do echo beat; sleep 0.1; done'


class TestLocalLease(LeaseContract):
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path / "root"

    @pytest.fixture
    def target(self, root: Path) -> ComputeTarget:
        return LocalTarget("local", root, max_concurrent_runs=1)

    @pytest.fixture
    def same_target(self, root: Path) -> ComputeTarget:
        return LocalTarget("local", root, max_concurrent_runs=1)

    def test_a_queued_job_that_nobody_watches_never_runs(
        self, target: ComputeTarget, root: Path, bench: JobBench
    ) -> None:
        # given
        running = bench.shell(target, _UNTIL_RELEASED)
        wait_until(target, running, RunStatus.RUNNING)

        # when
        queued = bench.shell(target, 'touch "$OUTSIDE/ran"', lease_seconds=LEASE_SECONDS)
        state_file = root / "runs" / queued / "state.json"
        wait_for(lambda: json.loads(state_file.read_text())["status"] == "Failed")

        # then
        assert "lease_seconds" in str(wait_until_ended(target, queued).reason)
        (bench.outside / "release").touch()
        assert wait_until_ended(target, running).status is RunStatus.COMPLETED
        assert not (bench.outside / "ran").exists()

    def test_a_supervisor_that_was_frozen_waits_for_watchers_to_come_back(
        self, target: ComputeTarget, root: Path, bench: JobBench
    ) -> None:
        # given
        run_id = bench.shell(target, _UNTIL_RELEASED, lease_seconds=LEASE_SECONDS)
        wait_until(target, run_id, RunStatus.RUNNING)
        state = json.loads((root / "runs" / run_id / "state.json").read_text())

        # when
        os.kill(state["supervisor"]["pid"], signal.SIGSTOP)
        left_at = time.monotonic()
        wait_for(lambda: time.monotonic() - left_at > 1.5 * LEASE_SECONDS)
        os.kill(state["supervisor"]["pid"], signal.SIGCONT)
        woken_at = time.monotonic()
        wait_for(lambda: time.monotonic() - woken_at > 0.3 * LEASE_SECONDS)  # it has looked

        # then
        assert wait_for_log(target, run_id, b"beat").status is RunStatus.RUNNING
        (bench.outside / "release").touch()
        assert wait_until_ended(target, run_id).status is RunStatus.COMPLETED


class TestSshLease(SshFixtures, LeaseContract):
    """On a host."""
