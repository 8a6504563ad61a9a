"""What a builder leaves behind that fails, is stopped or killed; and what it never leaves."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from airflow_mltrain.runtime.job_agent.environment import builder
from airflow_mltrain.runtime.job_agent.environment.builder import Builder
from airflow_mltrain.runtime.job_agent.environment.credential import CredentialError
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.runtime.job_agent.installer.installation import InstallError
from airflow_mltrain.runtime.job_agent.secret import hand_on
from tests.services.environment_cache import (
    CacheBench,
    environment_request,
    kill_at_step,
    run_builder,
)
from tests.services.jobs import wait_for
from tests.services.mount import mounted
from tests.services.processes import fork_server

_REQUEST = environment_request("alpha")
_SECRETS = b'{"indexes": {"127.0.0.1": ["reader", "open-sesame"]}}'


@pytest.mark.parametrize("is_resolver", [True, False])
def test_a_builder_may_be_killed_at_any_step(tmp_path: Path, *, is_resolver: bool) -> None:
    build = _build if is_resolver else _build_with_pip
    for step in itertools.count(1):
        bench = CacheBench(tmp_path / str(step))

        if not kill_at_step(build, bench.root, step):
            break

        bench.is_found_whole(_REQUEST)
        build(bench.root)
        assert bench.is_found_whole(_REQUEST)
        bench.cache.collect(None)
        assert bench.left_over() == set()
    assert step > 20


def _build(root: Path) -> None:
    CacheBench(root).build(_REQUEST)


def _build_with_pip(root: Path) -> None:
    bench = CacheBench(root)
    bench.build(_REQUEST, dataclasses.replace(bench.installer, is_resolver=False))


def test_builders_of_one_machine_may_be_killed_at_any_moment(bench: CacheBench) -> None:
    context = fork_server()
    moments = random.Random(7)  # noqa: S311  # to be the same each time
    for _ in range(12):
        pair = [context.Process(target=_build_slowly, args=(bench.root,)) for _ in "ab"]
        for one in pair:
            one.start()
        for one in pair:
            one.join(moments.uniform(0, 0.3))
            one.kill()
            one.join()
        if bench.is_found_whole(_REQUEST):
            bench.cache.collect(0)

    bench.build(_REQUEST)

    assert bench.is_found_whole(_REQUEST)
    assert bench.left_over() == set()


def _build_slowly(root: Path) -> None:
    bench = CacheBench(root)
    bench.build(_REQUEST, dataclasses.replace(bench.installer, build_seconds=0.3))


def test_the_reason_of_a_failure_is_left_for_the_run(
    job: JobFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = CacheBench(Path(job.root))
    Path(job.log).write_text("error: alpha does not exist\n")
    words = "error: alpha does not exist\nuv could not resolve; check the name"

    code, log = run_builder(job, dataclasses.replace(bench.installer, complaint=words), capfd)

    assert code == 1
    assert Path(job.preparation_fault).read_text() == words
    assert "[mltrain] uv could not resolve; check the name\n" in log
    assert "alpha does not exist" not in log  # it is in the log already
    assert "Traceback" not in log
    assert list(bench.trees.iterdir()) == []
    assert bench.cache.find(_REQUEST) is None


def test_a_long_reason_keeps_its_end(job: JobFolder, capfd: pytest.CaptureFixture[str]) -> None:
    bench = CacheBench(Path(job.root))

    run_builder(
        job, dataclasses.replace(bench.installer, complaint="x" * 9000 + " do this"), capfd
    )

    reason = Path(job.preparation_fault).read_text()
    assert len(reason) == 4000
    assert reason.endswith("x do this")


def test_a_failure_does_not_stand_in_the_way_of_the_next(bench: CacheBench) -> None:
    failing = dataclasses.replace(bench.installer, complaint="no luck")
    with pytest.raises(InstallError):
        bench.build(_REQUEST, failing)

    bench.build(_REQUEST)

    assert bench.is_found_whole(_REQUEST)


def test_a_full_disk_is_said_and_leaves_nothing_half_built(
    job: JobFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = CacheBench(Path(job.root))
    bench.folder.mkdir()
    big = dataclasses.replace(bench.installer, part_bytes=1_000_000)
    with mounted(bench.folder, "-t", "tmpfs", "-o", "size=2m", "none"):
        code, log = run_builder(job, big, capfd)

        assert code == 1
        assert "No space left on device" in Path(job.preparation_fault).read_text()
        assert f"make room on the disk of {bench.folder}" in log
        assert bench.cache.find(_REQUEST) is None
        assert list(bench.trees.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said(
    job: JobFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = CacheBench(Path(job.root))
    bench.folder.mkdir()
    with mounted(bench.folder, "--bind", "--options", "ro", str(bench.folder)):
        code, log = run_builder(job, bench.installer, capfd)

    assert code == 1
    assert "environment sklearn:3 could not be built: [Errno 30] Read-only file system" in log


def test_secrets_reach_the_tools_and_nothing_else(
    job: JobFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = CacheBench(Path(job.root))

    code, log = run_builder(job, bench.installer, capfd, _SECRETS)

    assert code == 0
    assert "600 machine 127.0.0.1 login reader password open-sesame" in bench.builds[0]
    assert "open-sesame" not in log
    bench.installer.journal.unlink()
    found = subprocess.run(["grep", "-r", "open-sesame", job.root], check=False, stdout=-1)
    assert found.stdout == b""


@pytest.mark.parametrize("password", ["two words", 'a"b', "a'b", "a\\b", "a#b", "a\nb"])
def test_a_password_that_no_tool_could_read_is_refused_unsaid(
    bench: CacheBench, password: str
) -> None:
    one = Builder(bench.cache, _REQUEST, "", bench.installer)

    with pytest.raises(CredentialError, match=r"index at packages\.example\.org") as caught:
        one.run({"packages.example.org": ("reader", password)})

    assert not password or password not in str(caught.value).replace("'#'", "")
    assert list(bench.trees.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    ["{", "[1]", '{"indexes": {"host": "secret"}}', '{"indexes": {"host": ["secret"]}}'],
)
def test_damaged_secrets_are_refused_unsaid(
    job: JobFolder, capfd: pytest.CaptureFixture[str], content: str
) -> None:
    installer = CacheBench(Path(job.root)).installer

    code, log = run_builder(job, installer, capfd, content.encode())

    assert code == 1
    assert "not readable" in log
    assert "secret" not in log


def test_a_builder_that_is_told_to_stop_leaves_no_secret(
    bench: CacheBench, job: JobFolder
) -> None:
    context = fork_server()
    process = context.Process(target=_run_for_long, args=(bench.root,))
    process.start()
    wait_for(lambda: bench.builds)

    assert process.pid is not None
    os.kill(process.pid, signal.SIGTERM)
    process.join()

    assert process.exitcode == 128 + signal.SIGTERM
    assert list(bench.trees.iterdir()) == []
    assert not Path(job.preparation_fault).exists()


def _run_for_long(root: Path) -> None:
    os.dup2(hand_on(_SECRETS), 0)
    slow = dataclasses.replace(CacheBench(root).installer, build_seconds=100)
    builder.main([str(root), "run-1"], slow)
