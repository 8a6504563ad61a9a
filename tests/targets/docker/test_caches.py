"""What a target keeps on its engine, and that all of it may be taken away between two runs."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

import pytest
from docker import DockerClient
from docker.errors import NotFound

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.snapshots.blob_store import BlobStore
from airflow_mltrain.snapshots.snapshot import take_snapshot
from airflow_mltrain.targets.registry import connect
from tests.services.docker_engine import DockerEngine
from tests.services.docker_jobs import DockerBench, DockerPlace, container_names
from tests.services.jobs import wait_for, wait_for_log, wait_until_ended
from tests.targets.docker.conftest import ConnectTo

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget


@pytest.fixture
def own_target(
    place: DockerPlace, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> ComputeTarget:
    """A target on a volume of the test's own."""
    monkeypatch.setenv("AIRFLOW_CONN_ENGINE", place.connection_json())
    return connect("engine", settings)


def _run(target: ComputeTarget, bench: DockerBench) -> bytes:
    """The log of a run that went well."""
    ended = wait_until_ended(target, bench.python(target, "print('fine')"))
    assert ended.status is RunStatus.COMPLETED, ended
    return ended.log


def test_the_next_run_works_after_the_agents_container_was_removed(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    assert _run(target, bench) == b"fine\n"

    # when
    client.api.remove_container("mltrain-agent-shared", force=True)

    # then
    assert _run(target, bench) == b"fine\n"


def test_a_run_is_followed_on_after_the_agents_container_was_killed(
    target: ComputeTarget, bench: DockerBench, client: DockerClient
) -> None:
    # given
    script = 'echo begun; while [ ! -e "$OUTSIDE/release" ]; do sleep 0.02; done; echo over'
    run_id = bench.shell(target, script)
    wait_for_log(target, run_id, b"begun\n")

    # when
    client.api.kill("mltrain-agent-shared")
    wait_for_log(target, run_id, b"begun\n")
    (bench.outside / "release").touch()
    ended = wait_until_ended(target, run_id)

    # then
    assert (ended.status, ended.log) == (RunStatus.COMPLETED, b"begun\nover\n")


def test_a_forked_child_asks_on_its_own_though_its_parent_has_a_session_that_was_lost(
    own_target: ComputeTarget,
    connect_to: ConnectTo,
    client: DockerClient,
    place: DockerPlace,
    settings: Settings,
) -> None:
    # given
    lost = own_target._keeper.session()  # type: ignore[attr-defined]  # noqa: SLF001
    later = connect_to(volume=f"{place.volume}-later")
    assert later.missing(["0" * 64]) == {"0" * 64}  # on a session that lives
    client.api.remove_container(f"mltrain-agent-{place.volume}", force=True)
    wait_for(lambda: lost.is_lost)

    # when
    def ask() -> None:
        os._exit(len(connect("engine", settings).missing(["1" * 64])))

    child = multiprocessing.get_context("fork").Process(target=ask)
    child.start()
    child.join(20)
    child.kill()

    # then
    assert child.exitcode == 1
    client.api.remove_container(f"mltrain-agent-{place.volume}-later", force=True)


def test_the_next_run_works_after_the_volume_was_removed(
    own_target: ComputeTarget, place: DockerPlace, bench: DockerBench, client: DockerClient
) -> None:
    # given
    before = own_target.place
    assert _run(own_target, bench) == b"fine\n"

    # when
    place.remove()
    wait_for(lambda: _is_gone(client, place.volume))

    # then
    assert _run(own_target, bench) == b"fine\n"
    assert own_target.place == before  # it is the engine and the name that count


def _is_gone(client: DockerClient, volume: str) -> bool:
    try:
        client.api.inspect_volume(volume)
    except NotFound:
        return True
    return False


@pytest.mark.parametrize(
    ("keep", "kept"),
    [("never", [False, False]), ("on_failure", [False, True]), ("always", [True, True])],
)
def test_containers_are_kept_as_the_connection_says(
    connect_to: ConnectTo, bench: DockerBench, client: DockerClient, keep: str, kept: list[bool]
) -> None:
    # given
    target = connect_to(keep_containers=keep)
    run_ids = [bench.shell(target, f"exit {code}") for code in (0, 3)]

    # when
    for run_id in run_ids:
        wait_until_ended(target, run_id)
        (bench.folder / run_id).mkdir()
        target.fetch(run_id, bench.folder / run_id)

    # then
    left = container_names(client)
    assert [run_id in left for run_id in run_ids] == kept

    # when
    for run_id in run_ids:
        target.discard(run_id)

    # then
    left = container_names(client)
    assert left.isdisjoint(run_ids)


@pytest.mark.parametrize("image", ["python", "unprivileged"])
def test_a_run_of_a_large_project_begins_with_a_copy_that_was_made_after_another(
    connect_to: ConnectTo, place: DockerPlace, bench: DockerBench, engine: DockerEngine, image: str
) -> None:
    # given
    target = connect_to(image=f"mltrain-test/{image}:3", volume=place.volume)
    spares = engine.data_folder / "volumes" / place.volume / "_data/spares"
    files = {f"part_{number}.py": f"x = {number}\n" for number in range(60)}
    script = "stat -c %i part_7.py; wc -l < part_7.py; echo spoilt >> part_7.py"

    def run() -> list[str]:
        job = bench.job(target, "sh", "-c", script, files=files)
        target.start(job)
        ended = wait_until_ended(target, job.run_id)
        (bench.folder / job.run_id).mkdir()
        target.fetch(job.run_id, bench.folder / job.run_id)
        return ended.log.decode().split()

    def find_spare() -> str:
        wait_for(lambda: list(spares.glob("*-*.*/part_7.py")))  # the name of a boot has dashes
        (found,) = spares.glob("*-*.*/part_7.py")
        return str(found.stat().st_ino)

    # when
    _, lines = run()
    spared = [find_spare()]
    second, lines_of_second = run()
    spared.append(find_spare())
    third, lines_of_third = run()

    # then
    assert [second, third] == spared
    assert [lines, lines_of_second, lines_of_third] == ["1", "1", "1"]


def test_a_run_of_a_small_project_leaves_no_copy(
    own_target: ComputeTarget, place: DockerPlace, bench: DockerBench, engine: DockerEngine
) -> None:
    # given
    run_id = bench.python(own_target, "print('fine')")
    wait_until_ended(own_target, run_id)
    (bench.folder / run_id).mkdir()

    # when
    own_target.fetch(run_id, bench.folder / run_id)

    # then
    volume = engine.data_folder / "volumes" / place.volume / "_data"
    assert (volume / "runs" / run_id).is_dir()
    assert not (volume / "spares").exists()


@pytest.mark.parametrize(
    "spoiler",
    [
        "echo nonsense > ../job.json",
        "rm ../job.json",
        """mkfifo ../pipe; echo '{"snapshot_id": "'"$(cd ..; pwd)/pipe"'"}' > ../job.json""",
    ],
)
def test_a_run_that_spoilt_what_says_which_code_it_has_is_fetched_all_the_same(
    target: ComputeTarget, bench: DockerBench, spoiler: str
) -> None:
    # given
    run_id = bench.shell(target, f"echo trained > outputs/model; {spoiler}")
    ended = wait_until_ended(target, run_id)
    (bench.folder / run_id).mkdir()

    # when
    target.fetch(run_id, bench.folder / run_id)

    # then
    assert ended.status is RunStatus.COMPLETED
    assert (bench.folder / run_id / "outputs/model").read_text() == "trained\n"


def test_files_that_did_not_change_are_not_sent_again(
    target: ComputeTarget, bench: DockerBench, tmp_path: Path
) -> None:
    # given
    files = {f"part_{number}.py": f"x = {number}, {bench.folder}\n" for number in range(20)}
    first = bench.job(target, "true", files=files)
    source = tmp_path / "source"
    source.mkdir()
    for name, text in files.items():
        (source / name).write_text(text)
    (source / "part_3.py").write_text(f"changed in {bench.folder}")

    # when
    changed = take_snapshot(
        source,
        BlobStore(tmp_path / "store"),
        index_directory=tmp_path / "index",
        max_bytes=10**6,
    )
    blobs = {entry.sha256 for entry in changed.manifest.entries if entry.sha256}

    # then
    assert target.missing_of_snapshot(first.snapshot_id) == set()
    assert target.missing_of_snapshot(changed.snapshot_id) is None
    assert len(target.missing(blobs)) == 1
