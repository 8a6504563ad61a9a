"""Ends of a run that come from outside its container, or from the bounds of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docker import DockerClient

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Resources
from tests.services.docker_jobs import DockerBench
from tests.services.jobs import wait_for_log, wait_until_ended

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.targets.base import ComputeTarget

_SMALL = Resources(memory_bytes=64 << 20)
_EAT = "x = bytearray(1 << 30)"
_EAT_IN_CHILD = f"""
import subprocess, sys
print("child:", subprocess.run([sys.executable, "-c", {_EAT!r}]).returncode)
"""


def test_a_run_whose_container_is_killed_has_failed_and_its_log_is_whole(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    run_id = bench.shell(target, "echo begun; sleep 1000")
    wait_for_log(target, run_id, b"begun\n")

    # when
    client.api.kill(run_id)
    ended = wait_until_ended(target, run_id)

    # then
    assert (ended.status, ended.exit_code, ended.log) == (RunStatus.FAILED, 137, b"begun\n")
    assert ended.reason is not None
    assert "its container was killed (SIGKILL)" in ended.reason


def test_a_run_whose_container_is_removed_has_failed_and_what_it_left_comes_back(
    target: ComputeTarget, bench: DockerBench, client: DockerClient, tmp_path: Path
) -> None:
    # given
    run_id = bench.shell(target, "echo half > outputs/model; echo begun; sleep 1000")
    wait_for_log(target, run_id, b"begun\n")

    # when
    client.api.remove_container(run_id, force=True)
    ended = wait_until_ended(target, run_id)
    (tmp_path / "fetched").mkdir()
    target.fetch(run_id, tmp_path / "fetched")

    # then
    assert (ended.status, ended.exit_code) == (RunStatus.FAILED, None)
    assert ended.reason == "its container was removed from outside while it ran"
    assert (tmp_path / "fetched/log").read_bytes() == b"begun\n"
    assert (tmp_path / "fetched/outputs/model").read_text() == "half\n"


def test_a_container_that_a_repeated_start_makes_does_not_say_how_the_script_ended(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    job = bench.job(target, "sh", "-c", "echo begun; sleep 1000")
    target.start(job)
    wait_for_log(target, job.run_id, b"begun\n")
    client.api.remove_container(job.run_id, force=True)

    # when
    target.start(job)
    assert client.api.wait(job.run_id)["StatusCode"] == 75
    ended = wait_until_ended(target, job.run_id)

    # then
    assert (ended.status, ended.exit_code) == (RunStatus.FAILED, None)
    assert ended.reason == "its container was removed from outside while it ran"


def test_a_run_whose_container_is_removed_and_that_is_canceled_then_is_canceled(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    run_id = bench.shell(target, "echo begun; sleep 1000")
    wait_for_log(target, run_id, b"begun\n")
    client.api.remove_container(run_id, force=True)

    # when
    target.cancel(run_id)
    ended = wait_until_ended(target, run_id)

    # then
    assert ended.status is RunStatus.CANCELED


def test_a_container_that_is_stopped_ends_its_run_in_good_order(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    script = "trap 'echo saved; exit 0' TERM; echo begun; while :; do sleep 0.1; done"
    run_id = bench.shell(target, script, cancel_grace_seconds=5)
    wait_for_log(target, run_id, b"begun\n")

    # when
    client.api.stop(run_id, timeout=20)
    ended = wait_until_ended(target, run_id)

    # then
    assert ended.status is RunStatus.FAILED
    assert ended.log.endswith(b"saved\n")
    assert ended.reason is not None
    assert "told to stop (SIGTERM)" in ended.reason


def test_a_container_that_does_not_stop_in_time_is_killed_and_its_run_has_failed(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    script = "trap '' TERM; echo begun; while :; do sleep 0.1; done"
    run_id = bench.shell(target, script, cancel_grace_seconds=1000)
    wait_for_log(target, run_id, b"begun\n")

    # when
    client.api.stop(run_id, timeout=1)
    ended = wait_until_ended(target, run_id)

    # then
    assert (ended.status, ended.exit_code, ended.log) == (RunStatus.FAILED, 137, b"begun\n")


def test_a_paused_run_goes_on_being_one_and_can_be_canceled(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    run_id = bench.shell(target, "echo begun; sleep 1000")
    wait_for_log(target, run_id, b"begun\n")
    client.api.pause(run_id)

    # when
    target.cancel(run_id)
    ended = wait_until_ended(target, run_id)

    # then
    assert (ended.status, ended.log) == (RunStatus.CANCELED, b"begun\n")


def test_a_run_that_is_canceled_and_then_killed_is_canceled(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    script = "trap '' TERM; echo begun; while :; do sleep 0.1; done"
    run_id = bench.shell(target, script, cancel_grace_seconds=1000)
    wait_for_log(target, run_id, b"begun\n")

    # when
    target.cancel(run_id)
    client.api.kill(run_id)
    ended = wait_until_ended(target, run_id)

    # then
    assert ended.status is RunStatus.CANCELED


def test_a_script_that_needs_more_memory_than_it_may_have_is_out_of_memory(
    target: ComputeTarget, bench: DockerBench
) -> None:
    # when
    run_id = bench.python(target, f"print('begun', flush=True)\n{_EAT}", resources=_SMALL)
    ended = wait_until_ended(target, run_id)

    # then
    assert (ended.status, ended.exit_code, ended.log) == (RunStatus.FAILED, 137, b"begun\n")
    assert ended.reason is not None
    assert "out of memory" in ended.reason


def test_a_script_goes_on_whose_child_needed_too_much_memory(
    target: ComputeTarget, bench: DockerBench
) -> None:
    # when
    run_id = bench.python(target, _EAT_IN_CHILD, resources=_SMALL)
    ended = wait_until_ended(target, run_id)

    # then
    assert (ended.status, ended.log) == (RunStatus.COMPLETED, b"child: -9\n")


def test_a_run_whose_supervisor_is_killed_within_the_container_has_failed(
    target: ComputeTarget, bench: DockerBench
) -> None:
    # when
    run_id = bench.shell(target, "echo begun; kill -9 $PPID; sleep 1000")
    ended = wait_until_ended(target, run_id)

    # then
    assert (ended.status, ended.exit_code, ended.log) == (RunStatus.FAILED, 137, b"begun\n")
