"""A run is executed once, whoever starts its container and however often."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker import DockerClient

from airflow_mltrain.errors import JobStartError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.runtime.job_agent import handover
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.targets.base import Seen
from airflow_mltrain.targets.docker.preparation import QUIET
from airflow_mltrain.targets.docker.stream import EngineStream
from airflow_mltrain.targets.registry import connect
from tests.services.docker_jobs import DockerBench, container_names, processes_in
from tests.services.jobs import wait_for, wait_until_ended

if TYPE_CHECKING:
    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget, Job

_NOTE = 'echo ran >> "$OUTSIDE/diary"; echo done'


def _in_other_process(work: Any, *arguments: Any) -> None:
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    process.join()


def _start_and_die(settings: Settings, job: Job, method: str) -> None:
    """Start a job, up to the engine's method of that name, and be killed there."""
    target = connect("engine", settings)

    def die(*_: object, **__: object) -> None:
        os._exit(9)

    setattr(target._engine.client, method, die)  # type: ignore[attr-defined]  # noqa: SLF001
    target.start(job)


def _start(settings: Settings, job: Job) -> None:
    connect("engine", settings).start(job)
    os._exit(0)


def _diary(bench: DockerBench) -> str:
    return (bench.outside / "diary").read_text()


@pytest.mark.parametrize("method", ["create_container_from_config", "attach_socket", "start"])
def test_a_submitter_that_is_killed_between_two_steps_is_succeeded_by_another(
    target: ComputeTarget, bench: DockerBench, settings: Settings, method: str
) -> None:
    # given
    job = bench.job(target, "sh", "-c", _NOTE)
    _in_other_process(_start_and_die, settings, job, method)

    # when
    target.start(job)
    ended = wait_until_ended(target, job.run_id)

    # then
    assert (ended.status, ended.log) == (RunStatus.COMPLETED, b"done\n")
    assert _diary(bench) == "ran\n"


def _start_and_die_in_the_talk(settings: Settings, job: Job, method: str) -> None:
    """Start a job, up to that method of the container's stream, and be killed there."""

    def die(*_: object) -> bytes:
        os._exit(9)

    setattr(EngineStream, method, die)
    connect("engine", settings).start(job)


@pytest.mark.parametrize("method", ["send", "receive"])
def test_a_submitter_that_is_killed_while_it_talks_to_the_container_is_succeeded_by_another(
    target: ComputeTarget, bench: DockerBench, settings: Settings, method: str
) -> None:
    # given
    job = bench.job(target, "sh", "-c", _NOTE)
    _in_other_process(_start_and_die_in_the_talk, settings, job, method)

    # when
    target.start(job)
    ended = wait_until_ended(target, job.run_id)

    # then
    assert (ended.status, ended.log) == (RunStatus.COMPLETED, b"done\n")
    assert _diary(bench) == "ran\n"


def test_a_submitter_that_hears_no_answer_finds_out_otherwise(
    target: ComputeTarget, bench: DockerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    job = bench.job(target, "sh", "-c", _NOTE)
    target.observe({}, 0)  # its agent answers

    # when
    with monkeypatch.context() as deaf:
        deaf.setattr("airflow_mltrain.targets.docker.order._is_claimed", lambda _: False)
        is_started = target.start(job)

    # then
    assert is_started
    assert wait_until_ended(target, job.run_id).status is RunStatus.COMPLETED
    assert _diary(bench) == "ran\n"


def test_four_processes_and_four_threads_that_start_a_job_at_once_run_it_once(
    target: ComputeTarget, bench: DockerBench, settings: Settings
) -> None:
    # given
    job = bench.job(target, "sh", "-c", _NOTE)

    # when
    fork = multiprocessing.get_context("fork")
    others = [fork.Process(target=_start, args=(settings, job)) for _ in range(4)]
    for process in others:
        process.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: connect("engine", settings).start(job), range(4)))
    for process in others:
        process.join()
    ended = wait_until_ended(target, job.run_id)

    # then
    assert [process.exitcode for process in others] == [0] * 4
    assert (ended.status, ended.log) == (RunStatus.COMPLETED, b"done\n")
    assert _diary(bench) == "ran\n"


def test_a_run_that_ended_is_not_run_again_though_its_container_is_gone(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    job = bench.job(target, "sh", "-c", _NOTE)
    target.start(job)
    wait_until_ended(target, job.run_id)
    client.api.remove_container(job.run_id, force=True)

    # when
    target.start(job)
    target.start(job)
    wait_for(lambda: _is_idle(client, job.run_id))

    # then
    assert wait_until_ended(target, job.run_id).status is RunStatus.COMPLETED
    assert _diary(bench) == "ran\n"


def _is_idle(client: DockerClient, run_id: str) -> bool:
    found = client.containers.list(all=True, filters={"name": run_id})
    return all(container.status == "exited" for container in found)


def test_a_container_that_somebody_starts_again_does_not_run_the_script_again(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    run_id = bench.shell(target, _NOTE)
    wait_until_ended(target, run_id)
    client.api.wait(run_id)

    # when
    client.api.start(run_id)
    code = client.api.wait(run_id)["StatusCode"]

    # then
    assert code == 75
    assert _diary(bench) == "ran\n"


def test_a_dead_run_whose_container_somebody_starts_again_stays_dead(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    run_id = bench.shell(target, f"{_NOTE}; sleep 1000")
    wait_for((bench.outside / "diary").exists)
    client.api.kill(run_id)
    client.api.wait(run_id)

    # when
    client.api.start(run_id)
    ended = wait_until_ended(target, run_id)

    # then
    assert ended.status is RunStatus.FAILED
    assert _diary(bench) == "ran\n"


def test_a_container_that_ended_before_it_had_the_job_is_told_and_nothing_is_left(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    job = bench.job(target, "sh", "-c", _NOTE)
    target.prepare(job, QUIET)
    running = {"name": job.run_id, "status": "running"}
    wait_for(lambda: client.containers.list(filters=running))
    client.api.kill(job.run_id)
    client.api.wait(job.run_id)

    # when
    with pytest.raises(JobStartError, match="137"):
        target.start(job)

    # then
    assert client.containers.list(all=True, filters={"name": job.run_id}) == []
    assert target.observe({job.run_id: Seen()}, 0) == {}


def test_a_container_that_waited_in_vain_is_made_anew(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    job = bench.job(target, "sh", "-c", _NOTE)
    labels = {"mltrain.run_id": job.run_id}
    command = ["sh", "-c", "exit 75"]  # as one ends that got no job in time
    client.containers.run(
        "mltrain-test/bare:1", command, name=job.run_id, labels=labels, detach=True
    )
    client.api.wait(job.run_id)

    # when
    is_started = target.start(job)

    # then
    assert is_started
    assert wait_until_ended(target, job.run_id).status is RunStatus.COMPLETED
    assert _diary(bench) == "ran\n"


def test_a_job_that_is_canceled_while_its_blobs_are_sent_is_canceled(
    target: ComputeTarget, bench: DockerBench
) -> None:
    # given
    job = bench.unsent_job("sh", "train.sh", files={"train.sh": f"{_NOTE}; {os.urandom(9).hex()}"})
    is_started_before = target.start(job)
    target.cancel(job.run_id)
    bench.send(target, job)

    # when
    is_started = target.start(job)

    # then
    assert (is_started_before, is_started) == (False, True)
    assert wait_until_ended(target, job.run_id).status is RunStatus.CANCELED
    assert not (bench.outside / "diary").exists()


def test_a_job_that_is_taken_back_stays_canceled(tmp_path: Path) -> None:
    # given
    folder = JobFolder(str(tmp_path), "run-1")
    folder.mark_canceled()
    Path(folder.spec).write_text("{}")
    Path(folder.secrets).write_text("{}")

    # when
    handover.withdraw(str(tmp_path), "run-1")

    # then
    assert [path.name for path in Path(folder.path).iterdir()] == ["cancel"]


def test_a_strangers_container_of_that_name_is_named_and_stays_as_it_is(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    job = bench.job(target, "sh", "-c", _NOTE)
    stranger = client.containers.run(
        "mltrain-test/bare:1", ["sleep", "1000"], name=job.run_id, init=True, detach=True
    )

    # when
    with pytest.raises(JobStartError, match=f"{job.run_id}.*not the run's"):
        target.start(job)
    target.cancel(job.run_id)
    target.discard(job.run_id)

    # then
    stranger.reload()
    status = stranger.status
    stranger.remove(force=True)
    assert status == "running"
    assert not (bench.outside / "diary").exists()


def test_a_job_that_was_canceled_before_it_was_started_never_runs(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    job = bench.job(target, "sh", "-c", _NOTE)
    target.cancel(job.run_id)

    # when
    target.start(job)
    ended = wait_until_ended(target, job.run_id)

    # then
    assert (ended.status, ended.log) == (RunStatus.CANCELED, b"")
    assert not (bench.outside / "diary").exists()
    wait_for(lambda: _is_idle(client, job.run_id))


def test_a_container_that_waited_for_its_job_in_vain_goes_with_what_is_collected(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    job = bench.job(target, "sh", "-c", _NOTE)
    kept = bench.shell(target, "exit 75")
    wait_until_ended(target, kept)
    target.prepare(job, QUIET)
    wait_for(lambda: processes_in(client, job.run_id))
    target._ask("cancel", run_id=job.run_id)  # type: ignore[attr-defined]  # noqa: SLF001
    client.api.wait(job.run_id)

    # when
    target.collect_environments(None, is_dry_run=True)
    before = container_names(client)
    target.collect_environments(None)

    # then
    after = container_names(client)
    assert {job.run_id, kept} <= before
    assert (job.run_id in after, kept in after) == (False, True)
