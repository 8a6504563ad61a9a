"""What can befall the machine: killed supervisors, reboots, full disks, too many open files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.errors import JobStartError, TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Seen
from airflow_mltrain.targets.local import LocalTarget
from tests.contracts.target_bench import BenchContract
from tests.services.jobs import (
    is_running,
    kill_supervisor,
    wait_for,
    wait_for_log,
    wait_until,
    wait_until_ended,
)
from tests.services.mount import small_disk_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.jobs import JobBench

_ORPHANS = (
    '(setsid sleep 1000 & echo $! > "$OUTSIDE/pid"); echo $$ >> "$OUTSIDE/pid"; '
    "echo ready; sleep 1000"
)
_UNTIL_RELEASED = 'while [ ! -e "$OUTSIDE/release" ]; do sleep 0.02; done'
_DISK_BYTES = 4 * 1024 * 1024


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "it's the root"


@pytest.fixture
def target(root: Path) -> LocalTarget:
    return LocalTarget("local", root)


@pytest.fixture
def small_disk(root: Path) -> Iterator[Path]:
    with small_disk_at(root, _DISK_BYTES):
        yield root


def _state(root: Path, run_id: str) -> Path:
    return root / "runs" / run_id / "state.json"


def _fill(disk: Path) -> None:
    with (disk / "filling").open("wb", buffering=0) as filling, suppress(OSError):
        while True:
            filling.write(b"x" * 4096)


def _pids(bench: JobBench) -> list[int]:
    return [int(line) for line in (bench.outside / "pid").read_text().split()]


class TestDeath(BenchContract):
    """A dead job is noticed, and what it left is stopped."""

    def test_a_killed_supervisor_is_noticed_within_two_observations(
        self, target: LocalTarget, root: Path, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, _ORPHANS)
        log = len(wait_for_log(target, run_id, b"ready").log)

        kill_supervisor(root, run_id)
        seen = {run_id: Seen(RunStatus.RUNNING, log)}
        states = [target.observe(seen, 1.5)[run_id], target.observe(seen, 1.5)[run_id]]

        assert states[-1].status is RunStatus.FAILED
        assert "supervisor" in str(states[-1].reason)
        assert "was killed" in str(states[-1].reason)
        assert len(_pids(bench)) == 2
        assert [pid for pid in _pids(bench) if is_running(pid)] == []

    def test_a_script_that_puts_a_folder_in_place_of_its_state_ends_and_frees_its_slot(
        self, root: Path, bench: JobBench
    ) -> None:
        # given
        target = LocalTarget("local", root, max_concurrent_runs=1)
        script = (
            "until mkdir -p ../state.json/in/the/way; do rm ../state.json; done; "
            'touch "$OUTSIDE/done"'
        )
        run_id = bench.shell(target, script)
        waiting = bench.job(target, "echo", "my turn")

        # when
        wait_for((bench.outside / "done").exists)
        wait_for(_state(root, run_id).is_file)
        target.start(waiting)

        # then
        assert wait_until_ended(target, run_id).status is RunStatus.COMPLETED
        assert wait_until_ended(target, waiting.run_id).log == b"my turn\n"

    def test_a_job_whose_supervisor_is_killed_does_not_run_again(
        self, target: LocalTarget, root: Path, bench: JobBench
    ) -> None:
        job = bench.job(target, "sh", "-c", 'echo ran >> "$OUTSIDE/ran"; echo ready; sleep 1000')
        target.start(job)
        wait_for_log(target, job.run_id, b"ready")
        kill_supervisor(root, job.run_id)

        target.start(job)

        assert wait_until_ended(target, job.run_id).status is RunStatus.FAILED
        assert (bench.outside / "ran").read_text() == "ran\n"

    def test_a_job_that_was_being_canceled_when_its_supervisor_died_is_canceled(
        self, target: LocalTarget, root: Path, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, f"trap '' TERM; {_ORPHANS}", cancel_grace_seconds=1000.0)
        wait_for_log(target, run_id, b"ready")
        target.cancel(run_id)
        wait_until(target, run_id, RunStatus.CANCEL_REQUESTED)

        kill_supervisor(root, run_id)

        assert wait_until_ended(target, run_id).status is RunStatus.CANCELED
        assert [pid for pid in _pids(bench) if is_running(pid)] == []

    def test_a_supervisor_that_is_told_to_stop_stops_its_job_and_says_so(
        self, target: LocalTarget, root: Path, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, _ORPHANS)
        wait_for_log(target, run_id, b"ready")

        os.kill(json.loads(_state(root, run_id).read_text())["supervisor"]["pid"], signal.SIGTERM)

        state = wait_until_ended(target, run_id)
        assert state.status is RunStatus.FAILED
        assert "SIGTERM" in str(state.reason)
        assert [pid for pid in _pids(bench) if is_running(pid)] == []

    def test_a_reboot_fails_the_jobs_that_ran(
        self, target: LocalTarget, root: Path, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "echo ready; sleep 1000")
        wait_for_log(target, run_id, b"ready")
        kill_supervisor(root, run_id)
        state = json.loads(_state(root, run_id).read_text())
        state["supervisor"]["boot_id"] = "the boot before"
        _state(root, run_id).write_text(json.dumps(state))

        ended = wait_until_ended(target, run_id)

        assert ended.status is RunStatus.FAILED
        assert ended.reason == "host rebooted while the job ran"

    def test_a_claim_that_a_power_cut_left_empty_is_a_reboot_and_no_second_start(
        self, target: LocalTarget, root: Path, bench: JobBench
    ) -> None:
        job = bench.job(target, "sh", "-c", 'echo ran >> "$OUTSIDE/ran"')
        _state(root, job.run_id).parent.mkdir(parents=True)
        _state(root, job.run_id).touch()

        target.start(job)

        ended = wait_until_ended(target, job.run_id)
        assert ended.reason == "host rebooted while the job ran"
        assert not (bench.outside / "ran").exists()

    def test_a_cancel_whose_caller_died_before_it_woke_anybody_still_counts(
        self, target: LocalTarget, root: Path, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "echo ready; sleep 1000")
        wait_for_log(target, run_id, b"ready")

        (_state(root, run_id).parent / "cancel").touch()

        assert wait_until_ended(target, run_id).status is RunStatus.CANCELED


class TestMachine(BenchContract):
    """Disks, folders and secrets."""

    def test_the_end_is_recorded_on_a_full_disk(
        self, target: LocalTarget, small_disk: Path, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, f"{_UNTIL_RELEASED}; exit 5")
        wait_until(target, run_id, RunStatus.RUNNING)
        _fill(small_disk)

        (bench.outside / "release").touch()

        state = wait_until_ended(target, run_id)
        assert (state.status, state.exit_code) == (RunStatus.FAILED, 5)

    def test_a_killed_supervisor_is_recorded_on_a_full_disk(
        self, target: LocalTarget, small_disk: Path, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "echo ready; sleep 1000")
        wait_for_log(target, run_id, b"ready")
        _fill(small_disk)

        kill_supervisor(small_disk, run_id)

        assert wait_until_ended(target, run_id).status is RunStatus.FAILED

    def test_a_full_disk_refuses_a_start_and_says_why(
        self, target: LocalTarget, small_disk: Path, bench: JobBench
    ) -> None:
        job = bench.job(target, "sh", "-c", 'echo ran >> "$OUTSIDE/ran"')
        _fill(small_disk)

        with pytest.raises(JobStartError, match="No space left on device"):
            target.start(job)

        assert target.observe({job.run_id: Seen()}, 0) == {}

    def test_a_root_that_cannot_be_used_is_unreachable_and_fails_nothing(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        target = LocalTarget("gpu-box", tmp_path / "file" / "root")

        with pytest.raises(TargetUnreachableError, match="'gpu-box' cannot use its root folder"):
            _ = target.place

    def test_what_a_job_keeps_is_for_its_owner_alone(
        self, target: LocalTarget, root: Path, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "true", environment_variables={"PASSWORD": "secret"})
        wait_until_ended(target, run_id)

        folder = root / "runs" / run_id

        assert folder.stat().st_mode & 0o077 == 0
        assert (folder / "job.json").stat().st_mode & 0o077 == 0

    def test_a_variable_never_shows_in_a_command_line(
        self, target: LocalTarget, bench: JobBench
    ) -> None:
        variables = {"PASSWORD": "very-secret"}
        run_id = bench.shell(target, "echo ready; sleep 1000", environment_variables=variables)
        wait_for_log(target, run_id, b"ready")

        lines = subprocess.run(
            ["ps", "-eo", "args"], capture_output=True, check=True, text=True
        ).stdout

        assert "very-secret" not in lines
        target.cancel(run_id)
        wait_until_ended(target, run_id)

    def test_a_script_sees_none_of_airflows_variables(
        self, target: LocalTarget, bench: JobBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "fernet")
        monkeypatch.setenv("_AIRFLOW_TOKEN", "token")
        monkeypatch.setenv("OMP_NUM_THREADS", "3")

        run_id = bench.shell(target, "env")

        log = wait_until_ended(target, run_id).log
        assert b"OMP_NUM_THREADS=3\n" in log
        assert b"AIRFLOW" not in log


class TestLiveness(BenchContract):
    """A job that lives is never taken for dead."""

    def test_an_observer_that_is_out_of_files_buries_nobody(
        self, target: LocalTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, f"{_UNTIL_RELEASED}; echo done")
        wait_until(target, run_id, RunStatus.RUNNING)
        hoard = _hoard_of_descriptors()
        try:
            with pytest.raises(TargetUnreachableError, match="Too many open files"):
                target.observe({run_id: Seen(RunStatus.RUNNING)}, 0)
        finally:
            for descriptor in hoard:
                os.close(descriptor)

        (bench.outside / "release").touch()

        assert wait_until_ended(target, run_id).log == b"done\n"


def _hoard_of_descriptors() -> list[int]:
    """Every descriptor this process may still have."""
    hoard = []
    try:
        while True:
            hoard.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        return hoard
