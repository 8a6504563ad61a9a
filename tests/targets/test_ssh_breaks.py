"""What breaks between Airflow and an SSH host, by real means, and what becomes of the runs."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.errors import TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets import agent_session
from airflow_mltrain.targets.base import Seen
from airflow_mltrain.targets.registry import connect
from tests.services.jobs import JobBench, wait_for, wait_for_log, wait_until_ended
from tests.services.ssh_host import SshHost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget

_COUNT = "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; sleep 0.1; done"
_COUNTED = "".join(f"line {number}\n" for number in range(1, 41)).encode()


@pytest.fixture(scope="module")
def far_host() -> Iterator[SshHost]:
    """A host on a network of its own."""
    with SshHost(own_network=True) as host:
        yield host


@pytest.fixture
def bench(tmp_path: Path) -> JobBench:
    return JobBench(tmp_path / "bench")


@pytest.fixture
def connect_to(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Callable[[SshHost], ComputeTarget]:
    def connect_to(host: SshHost) -> ComputeTarget:
        extra = {
            "mltrain": {"root": str(host.make_shared_folder() / "mltrain")},
            "conn_timeout": 2,
        }
        monkeypatch.setenv("AIRFLOW_CONN_GPU_BOX", host.connection_json(**extra))
        return connect("gpu_box", settings)

    return connect_to


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent host is given up after two seconds instead of twenty."""
    monkeypatch.setattr(agent_session, "_DEAD_SECONDS", 2.0)


@pytest.mark.usefixtures("impatience")
def test_a_run_goes_on_while_the_network_is_cut(
    far_host: SshHost, connect_to: Callable[[SshHost], ComputeTarget], bench: JobBench
) -> None:
    # given
    target = connect_to(far_host)
    run_id = bench.shell(target, _COUNT)
    wait_for_log(target, run_id, b"line 3\n")

    # when
    far_host.cut_network()
    with pytest.raises(TargetUnreachableError, match="gpu_box"):
        target.observe({run_id: Seen(RunStatus.RUNNING, log=2**40)}, 1.0)
    far_host.restore_network()
    ended = wait_until_ended(target, run_id)

    # then
    assert ended.status is RunStatus.COMPLETED
    assert ended.log == _COUNTED


def test_a_run_does_not_notice_that_sshd_was_restarted(
    far_host: SshHost, connect_to: Callable[[SshHost], ComputeTarget], bench: JobBench
) -> None:
    # given
    target = connect_to(far_host)
    run_id = bench.shell(target, _COUNT)
    wait_for_log(target, run_id, b"line 3\n")

    # when
    far_host.kill_sshd()
    with pytest.raises(TargetUnreachableError, match="sshd"):
        target.observe({run_id: Seen()}, 1.0)
    far_host.start_sshd()
    ended = wait_until_ended(target, run_id)

    # then
    assert ended.status is RunStatus.COMPLETED
    assert ended.log == _COUNTED


def test_a_connection_that_broke_is_made_anew_unnoticed(
    far_host: SshHost, connect_to: Callable[[SshHost], ComputeTarget], bench: JobBench
) -> None:
    # given
    target = connect_to(far_host)
    run_id = bench.shell(target, "echo done")
    wait_until_ended(target, run_id)
    logins = far_host.logins()

    # when
    far_host.kill_sshd()
    far_host.start_sshd()
    state = target.observe({run_id: Seen()}, 0)[run_id]

    # then
    assert state.status is RunStatus.COMPLETED
    assert far_host.logins() == logins + 1


def test_a_run_on_a_host_that_reboots_has_failed_and_says_so(
    connect_to: Callable[[SshHost], ComputeTarget], bench: JobBench
) -> None:
    # given
    with SshHost() as host:
        target = connect_to(host)
        run_id = bench.shell(target, "echo begun; sleep 1000")
        wait_for_log(target, run_id, b"begun")

        # when
        host.reboot()
        ended = wait_until_ended(target, run_id)

    # then
    assert ended.status is RunStatus.FAILED
    assert ended.reason == "host rebooted while the job ran"
    assert ended.log == b"begun\n"


@pytest.mark.usefixtures("impatience")
def test_a_host_that_hangs_is_given_up_in_words_and_comes_back(
    far_host: SshHost, connect_to: Callable[[SshHost], ComputeTarget]
) -> None:
    # given
    target = connect_to(far_host)
    place = target.place

    # when
    far_host.freeze()
    with pytest.raises(TargetUnreachableError, match="then says nothing"):
        target.observe({"run-1": Seen()}, 0.1)
    far_host.thaw()

    # then
    assert target.place == place


def test_an_upload_that_is_cut_by_a_restart_of_sshd_arrives_whole(
    far_host: SshHost, connect_to: Callable[[SshHost], ComputeTarget], tmp_path: Path
) -> None:
    # given
    target = connect_to(far_host)
    content = os.urandom(60_000_000)
    digest = sha256(content).hexdigest()
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    assert target.missing([digest]) == {digest}

    def is_in_the_middle() -> bool:
        begun = far_host.disk.glob(f"shared-*/mltrain/blobs/partial/{digest}")
        return any(partial.stat().st_size > 5_000_000 for partial in begun)

    def cut_in_the_middle() -> None:
        wait_for(is_in_the_middle)
        far_host.kill_sshd()
        far_host.start_sshd()

    with ThreadPoolExecutor(1) as pool:
        cut = pool.submit(cut_in_the_middle)

        # when
        target.upload({digest: path})
        cut.result()

    # then
    assert target.missing([digest]) == set()
    (stored,) = far_host.disk.glob(f"shared-*/mltrain/blobs/{digest[:2]}/{digest}")
    assert stored.read_bytes() == content


def test_a_login_that_is_over_leaves_no_agent_behind(
    connect_to: Callable[[SshHost], ComputeTarget],
) -> None:
    # given
    with SshHost() as host:
        target = connect_to(host)
        assert target.place
        assert host.processes()

        # when
        host.kill_sshd()

        # then
        wait_for(lambda: not host.processes())
