"""The kinds of hosts there are, and what is wrong with some: each says so and nothing is begun."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.registry import connect
from tests.services.jobs import JobBench, wait_until_ended
from tests.services.ssh_host import SshHost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget

_HIDE_PYTHON = "for p in /usr/bin/python3*; do mount --bind /dev/null $p; done"
_SHOW = (
    "import os, sys; print(sys.argv[1:]); print(open('naïve.txt', encoding='utf-8').read()); "
    "print(os.environ['GREETING'])"
)


@pytest.fixture
def bench(tmp_path: Path) -> JobBench:
    return JobBench(tmp_path / "bench")


@pytest.fixture
def connect_to(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ComputeTarget]:
    def connect_to(host: SshHost, **mltrain: Any) -> ComputeTarget:
        monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", host.connection_json(mltrain=mltrain))
        return connect("gpu_box", settings)

    return connect_to


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"shell": "/bin/dash"}, id="dash"),
        pytest.param({"home_name": "a 'home' of $HOME"}, id="odd home"),
        pytest.param({"bashrc": "echo Hi; echo; printf no-newline; echo >&2"}, id="noisy"),
        pytest.param({"mounts": ("mount -t tmpfs -o noexec,mode=1777 t /tmp",)}, id="noexec /tmp"),
        pytest.param({"session_variables": {"LC_ALL": "C"}}, id="locale C"),
        pytest.param(
            {"session_variables": {"LC_ALL": "de_DE.ISO-8859-1", "LANG": "nowhere"}},
            id="a locale that is not there",
        ),
    ],
)
def test_a_script_runs_the_same_on_every_kind_of_host(
    options: dict[str, Any], connect_to: Callable[..., ComputeTarget], bench: JobBench
) -> None:
    # given
    with SshHost(**options) as host:
        target = connect_to(host, environment_variables={"GREETING": "with 'quotes'\nand lines"})
        files = {"train.py": _SHOW, "naïve.txt": "naïve text, 日本"}
        words = ["a b", "*", "ü", "'\"\\", ""]

        # when
        job = bench.job(target, "python", "-X", "utf8", "train.py", *words, files=files)
        target.start(job)
        ended = wait_until_ended(target, job.run_id)

    # then
    assert ended.status is RunStatus.COMPLETED, ended
    assert ended.log.decode() == f"{words}\nnaïve text, 日本\nwith 'quotes'\nand lines\n"


def test_times_are_shown_by_the_clock_of_airflows_machine(
    connect_to: Callable[..., ComputeTarget], bench: JobBench
) -> None:
    # given
    library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
    clock = {"LD_PRELOAD": library, "FAKETIME": "+3d"}
    with SshHost(session_variables=clock) as host:
        target = connect_to(host)
        began = datetime.now(timezone.utc)

        # when
        ended = wait_until_ended(target, bench.shell(target, "date +%s"))

    # then
    its_clock = datetime.fromtimestamp(int(ended.log), timezone.utc)
    assert its_clock - began > timedelta(days=2)
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert abs(ended.started_at - began) < timedelta(seconds=30)
    assert ended.ended_at >= ended.started_at


@pytest.mark.parametrize(
    ("options", "mltrain", "words"),
    [
        pytest.param({"mounts": (_HIDE_PYTHON,)}, {}, "install Python 3.8 or newer", id="none"),
        pytest.param({}, {"python": "/opt/none/python3"}, "name one as `python`", id="not there"),
        pytest.param({}, {"root": "/etc/passwd"}, "name another folder as `root`", id="a file"),
        pytest.param({}, {"root": "/proc/mltrain"}, "name another folder as `root`", id="proc"),
        pytest.param(
            {"mounts": ("mount -t tmpfs -o ro t /srv",)},
            {"root": "/srv/mltrain"},
            "Read-only file system",
            id="read-only",
        ),
        pytest.param(
            {"mounts": ("mount -t tmpfs -o size=16k,mode=1777 t /srv",)},
            {"root": "/srv/mltrain"},
            "No space left on device",
            id="full disk",
        ),
        pytest.param({"shell": "/usr/sbin/nologin"}, {}, "runs commands", id="no shell"),
        pytest.param({"bashrc": "exec sleep 0"}, {}, "runs commands", id="a login that ends"),
    ],
)
def test_what_is_wrong_with_a_host_is_said_with_the_remedy(
    options: dict[str, Any],
    mltrain: dict[str, Any],
    words: str,
    connect_to: Callable[..., ComputeTarget],
) -> None:
    # given
    with SshHost(**options) as host:
        target = connect_to(host, **mltrain)

        # when
        with pytest.raises(TargetUnreachableError) as caught:
            _ = target.place

        # then
        assert words in str(caught.value)
        assert "gpu_box" in str(caught.value)


@pytest.fixture(scope="module")
def small_host() -> Iterator[SshHost]:
    """Its disk has room for the job agent and little more."""
    mount = "mount -t tmpfs -o size=4m,mode=1777 t /srv"
    with SshHost(mounts=(mount,)) as host:
        yield host


def test_a_disk_that_is_full_refuses_a_snapshot_and_nothing_is_begun(
    small_host: SshHost, connect_to: Callable[..., ComputeTarget], bench: JobBench
) -> None:
    # given
    target = connect_to(small_host, root="/srv/mltrain")
    files = {"data.bin": "x" * 8_000_000, "train.py": "print(1)"}

    # when
    with pytest.raises(TargetUnreachableError, match="No space left on device"):
        bench.job(target, "python3", "train.py", files=files)

    # then
    assert small_host.run("ls /srv/mltrain/runs 2>/dev/null; true") == ""
    assert target.missing([]) == set()


def test_an_sshd_that_opens_no_session_says_so(connect_to: Callable[..., ComputeTarget]) -> None:
    # given
    with SshHost(sshd_lines=("MaxSessions 0",)) as host:
        target = connect_to(host)

        # when, then
        with pytest.raises(TargetUnreachableError, match="opened no session"):
            _ = target.place


def test_a_python_below_the_home_runs_the_scripts(
    connect_to: Callable[..., ComputeTarget], bench: JobBench
) -> None:
    # given
    with SshHost() as host:
        host.run("cd && mkdir bin && ln -s /usr/bin/python3 bin/mine")
        target = connect_to(host, python="~/bin/mine")

        # when
        job = bench.job(target, target.interpreter, "-c", "print('trained')")
        target.start(job)
        ended = wait_until_ended(target, job.run_id)

    # then
    assert job.argv[0] == f"{host.home}/bin/mine"
    assert ended.log == b"trained\n"
