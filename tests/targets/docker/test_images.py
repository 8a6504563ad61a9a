"""Images as people bring them: of a user, without Python, without a shell, not there at all."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest
from docker import DockerClient

from airflow_mltrain.errors import ConfigurationError, JobStartError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Job, Seen
from tests.services.docker_jobs import DockerBench, DockerPlace
from tests.services.jobs import wait_for, wait_for_log, wait_until_ended
from tests.targets.docker.conftest import ConnectTo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_mltrain.targets.base import ComputeTarget

_WHO = """
import os, pathlib
import mltrain
print(os.getuid(), os.getgid(), os.environ["HOME"], os.getcwd() == str(pathlib.Path.cwd()))
pathlib.Path("outputs/model").write_text("weights")
pathlib.Path("beside").write_text("scratch")
pathlib.Path("train.py").write_text("changed")
open("/dev/stdout", "a").write("by device\\n")
run = mltrain.Run.get_context()
run.log("loss", 0.5)
print(run.experiment.name)
"""
_PRY = """
import os
def attempt(words, act):
    try:
        act()
    except OSError as error:
        print(words, type(error).__name__)
    else:
        print(words, "DONE")
own = os.path.dirname(os.getcwd())
attempt("list runs", lambda: os.listdir(os.path.dirname(own)))
attempt("list own", lambda: os.listdir(own))
attempt("state", lambda: open(own + "/state.json").read())
attempt("spec", lambda: open(own + "/job.json").read())
attempt("overwrite state", lambda: open(own + "/state.json", "w"))
attempt("remove state", lambda: os.unlink(own + "/state.json"))
attempt("cancel others", lambda: open(own + "/cancel", "w"))
attempt("other metrics", lambda: open("/mltrain/runs/OTHER/metrics.jsonl", "a"))
attempt("blobs", lambda: open("/mltrain/blobs/x", "w"))
attempt("agent", lambda: open("/mltrain/agent/x", "w"))
attempt("bytecode", lambda: open("/mltrain/bytecode/x", "w"))
"""


def _start_at(target: ComputeTarget, bench: DockerBench) -> Job:
    """A job of which nothing may be left, once it could not be started."""
    return bench.job(target, "sh", "-c", 'touch "$OUTSIDE/ran"')


def _require_nothing_left(
    target: ComputeTarget, bench: DockerBench, client: DockerClient, run_id: str
) -> None:
    assert target.observe({run_id: Seen()}, 0) == {}
    assert client.containers.list(all=True, filters={"name": run_id}) == []
    assert not (bench.outside / "ran").exists()


@pytest.fixture
def elsewhere(client: DockerClient) -> Iterator[str]:
    """An image whose Python is in no folder of PATH."""
    hide = (
        "mkdir -p /opt/own/bin; ln -s /usr/local/lib /opt/own/lib; "
        "mv $(readlink -f $(command -v python3)) /opt/own/bin/python; "
        "rm $(find /usr/local/bin /usr/bin -name 'python*')"
    )
    container = client.containers.run("mltrain-test/python:3", ["sh", "-c", hide], detach=True)
    assert container.wait()["StatusCode"] == 0, container.logs()
    container.commit("mltrain-test/elsewhere", "3")
    container.remove()
    yield "mltrain-test/elsewhere:3"
    client.images.remove("mltrain-test/elsewhere:3", force=True)


def test_a_script_runs_as_the_user_of_its_image_and_may_write_what_is_its_own(
    connect_to: ConnectTo, bench: DockerBench, tmp_path: Path
) -> None:
    # given
    target = connect_to(image="mltrain-test/unprivileged:3")

    # when
    run_id = bench.python(target, _WHO, facts={"experiment": "churn"})
    ended = wait_until_ended(target, run_id)
    (tmp_path / "fetched").mkdir()
    left_behind = target.fetch(run_id, tmp_path / "fetched")

    # then
    assert (ended.status, ended.log) == (
        RunStatus.COMPLETED,
        b"1000 1000 /home/trainer True\nby device\nchurn\n",
    )
    assert b'"loss"' in ended.metrics
    assert left_behind == ()
    assert (tmp_path / "fetched/outputs/model").read_text() == "weights"


def test_an_unprivileged_script_reaches_nothing_of_other_runs_nor_its_own_records(
    target: ComputeTarget, connect_to: ConnectTo, bench: DockerBench
) -> None:
    # given
    other_id = bench.shell(target, "echo secret > outputs/model; echo secret; sleep 1000")
    wait_for_log(target, other_id, b"secret")
    unprivileged = connect_to(image="mltrain-test/unprivileged:3")

    # when
    ended = wait_until_ended(target, bench.python(unprivileged, _PRY.replace("OTHER", other_id)))
    target.cancel(other_id)

    # then
    assert ended.log.count(b"\n") == 11
    assert b"DONE" not in ended.log, ended.log
    assert wait_until_ended(target, other_id).status is RunStatus.CANCELED


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("trainer", b"1000 1000 /home/trainer\n"),
        ("4242", b"4242 0 /\n"),
        ("4242:77", b"4242 77 /\n"),
        ("nobody:trainer", b"65534 1000 /nonexistent\n"),
        ("root", b"0 0 /root\n"),
    ],
)
def test_the_connection_may_say_who_runs_scripts(
    connect_to: ConnectTo, bench: DockerBench, user: str, said: bytes
) -> None:
    # given
    target = connect_to(user=user)

    # when
    run_id = bench.shell(target, 'touch outputs/mine; echo "$(id -u) $(id -g) $HOME"')
    ended = wait_until_ended(target, run_id)

    # then
    assert (ended.status, ended.log) == (RunStatus.COMPLETED, said)


def test_a_user_that_the_image_does_not_have_is_named(
    connect_to: ConnectTo, bench: DockerBench, client: DockerClient
) -> None:
    # given
    target = connect_to(user="ada")
    job = _start_at(target, bench)

    # when
    with pytest.raises(JobStartError, match="no user 'ada' in the image"):
        target.start(job)

    # then
    _require_nothing_left(target, bench, client, job.run_id)


def test_an_image_that_is_nowhere_is_named(
    target: ComputeTarget, connect_to: ConnectTo, bench: DockerBench, client: DockerClient
) -> None:
    # given
    job = _start_at(target, bench)
    elsewhere = connect_to(image="127.0.0.1:9/team/no-such-image:1")

    # when
    with pytest.raises(JobStartError, match=r"no-such-image:1'.*cannot be pulled"):
        elsewhere.start(job)

    # then
    _require_nothing_left(target, bench, client, job.run_id)


def test_an_image_without_python_is_named(
    target: ComputeTarget, connect_to: ConnectTo, bench: DockerBench, client: DockerClient
) -> None:
    # given
    job = _start_at(target, bench)
    without = connect_to(image="mltrain-test/bare:1")

    # when
    with pytest.raises(JobStartError, match="bare:1' has no Python: use an image with"):
        without.start(job)

    # then
    _require_nothing_left(target, bench, client, job.run_id)


def test_an_image_without_a_shell_is_named(
    target: ComputeTarget, connect_to: ConnectTo, bench: DockerBench, client: DockerClient
) -> None:
    # given
    _import_empty_image(client)
    job = _start_at(target, bench)
    without = connect_to(image="mltrain-test/empty:1")

    # when
    with pytest.raises(JobStartError, match="empty:1' has no /bin/sh, which a run needs"):
        without.start(job)

    # then
    _require_nothing_left(target, bench, client, job.run_id)


@pytest.mark.parametrize("image", ["mltrain-test/bare:1", "mltrain-test/empty:1"])
def test_a_first_run_in_an_image_that_cannot_run_it_is_refused_in_words(
    connect_to: ConnectTo,
    target: ComputeTarget,
    bench: DockerBench,
    client: DockerClient,
    image: str,
) -> None:
    # given
    _import_empty_image(client)
    volume = f"unused-{image[13:17]}"
    job = _start_at(target, bench)
    first = connect_to(image=image, volume=volume)

    # when
    with pytest.raises(JobStartError, match=r"Python 3\.8|no /bin/sh"):
        first.start(job)

    # then
    assert client.containers.list(all=True, filters={"name": job.run_id}) == []
    # one that idled would be gone in time too; one that ended is removed by the engine itself
    assert client.api.containers(filters={"volume": volume}) == []
    wait_for(lambda: client.api.containers(all=True, filters={"volume": volume}) == [])


def test_a_target_without_an_image_asks_for_one(
    target: ComputeTarget, connect_to: ConnectTo, bench: DockerBench
) -> None:
    # given
    job = _start_at(target, bench)

    # when, then
    with pytest.raises(
        (JobStartError, ConfigurationError), match=r"environment\.docker\.base_image"
    ):
        connect_to(image=None).start(job)


def _import_empty_image(client: DockerClient) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("nothing"))
    client.api.import_image_from_data(content.getvalue(), "mltrain-test/empty", "1")


def test_an_image_that_cannot_run_anything_keeps_no_other_from_being_watched(
    target: ComputeTarget, connect_to: ConnectTo, bench: DockerBench, client: DockerClient
) -> None:
    # given
    run_id = bench.shell(target, "echo begun; sleep 1000")
    wait_for_log(target, run_id, b"begun\n")
    job = _start_at(target, bench)
    client.api.remove_container("mltrain-agent-shared", force=True)

    # when
    with pytest.raises(JobStartError, match="has no Python"):
        connect_to(image="mltrain-test/bare:1").start(job)
    state = wait_for_log(target, run_id, b"begun\n")

    # then
    assert state.status is RunStatus.RUNNING
    target.cancel(run_id)
    wait_until_ended(target, run_id)


@pytest.mark.parametrize("is_usual_first", [True, False])
def test_targets_whose_pythons_lie_in_different_places_may_share_a_volume(
    connect_to: ConnectTo,
    bench: DockerBench,
    place: DockerPlace,
    elsewhere: str,
    *,
    is_usual_first: bool,
) -> None:
    # given
    own = {"image": elsewhere, "python": "/opt/own/bin/python"}
    settings = [{}, own] if is_usual_first else [own, {}]
    ended = []

    # when
    for mltrain in settings:
        target = connect_to(volume=place.volume, **mltrain)
        job = bench.job(target, target.interpreter, "-c", "print('fine')")
        target.start(job)
        ended.append(wait_until_ended(target, job.run_id))

    # then
    assert [one.log for one in ended] == [b"fine\n", b"fine\n"]
