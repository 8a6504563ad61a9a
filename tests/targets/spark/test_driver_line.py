"""What becomes of a driver on a worker when its line, its master or its submitter fails."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.runtime.job_agent.cluster import entry
from airflow_mltrain.runtime.job_agent.cluster.callback import listen, take_call
from airflow_mltrain.runtime.job_agent.cluster.patience import longest_life
from airflow_mltrain.targets.registry import connect
from airflow_mltrain.targets.spark_job import SparkRequest
from scripts.free_port import find_free_port
from tests.fakes.local_master import LocalMaster, Relay
from tests.services.jobs import (
    follow,
    kill_supervisor,
    pids_carrying,
    wait_for,
    wait_until_ended,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_mltrain.settings import Settings
    from airflow_mltrain.targets.base import ComputeTarget
    from tests.services.spark_jobs import SparkJobBench

    Make = Callable[..., ComputeTarget]

_READY = "import os, signal, sys, time\nprint('ready', flush=True)\n"
_UNTIL_RELEASED = f"""{_READY}
while not os.path.exists(os.environ["OUTSIDE"] + "/release"):
    time.sleep(0.05)
"""


@pytest.fixture
def master(tmp_path: Path) -> Iterator[LocalMaster]:
    with LocalMaster(tmp_path / "workers") as master:
        yield master


@pytest.fixture
def relay(master: LocalMaster) -> Iterator[Relay]:
    with Relay() as relay:
        master.relay = relay
        yield relay


@pytest.fixture
def make(master: LocalMaster, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A target that puts drivers where the master does."""

    def make(**mltrain: Any) -> ComputeTarget:
        told = {"driver_alone_seconds": 5, **mltrain}
        monkeypatch.setenv("AIRFLOW_CONN_CLUSTER", json.dumps(master.connection(**told)))
        return connect("cluster", settings)

    return make


def _await_ready(target: ComputeTarget, run_id: str) -> None:
    follow(target, run_id, lambda state: b"ready" in state.log or state.status.is_terminal)


def test_a_run_is_complete_though_the_answer_to_the_last_question_is_lost(
    make: Make, bench: SparkJobBench, relay: Relay, tmp_path: Path
) -> None:
    relay.loses_answer_to = b'"verb": "discard"'
    target = make()
    run_id = bench.python(target, f"{_READY}open('outputs/model', 'w').write('weights')")

    ended = wait_until_ended(target, run_id)

    assert ended.status is RunStatus.COMPLETED, ended
    (tmp_path / "kept").mkdir()
    target.fetch(run_id, tmp_path / "kept")
    assert (tmp_path / "kept/outputs/model").read_text() == "weights"


def test_a_driver_without_pages_says_what_is_lost(make: Make, bench: SparkJobBench) -> None:
    request = SparkRequest(properties={"spark.ui.enabled": "false"})

    target = make()
    ended = wait_until_ended(target, bench.python(target, _READY, spark=request))

    assert ended.status is RunStatus.COMPLETED, ended
    assert b"nobody notices if no executor comes" in ended.log


def test_the_one_port_of_two_runs_is_had_by_the_second_at_once(
    make: Make, bench: SparkJobBench
) -> None:
    target = make(callback_ports=str(find_free_port()))

    ends = [wait_until_ended(target, bench.python(target, _READY)) for _ in range(2)]

    assert [end.status for end in ends] == [RunStatus.COMPLETED] * 2, ends


def test_a_port_that_is_listened_at_is_passed_over() -> None:
    with socket.create_server(("", 0), reuse_port=False) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            listen((port, port))


def test_a_stranger_who_dribbles_does_not_keep_a_driver_waiting(
    make: Make, bench: SparkJobBench
) -> None:
    port = find_free_port()
    target = make(callback_ports=str(port))
    run_id = bench.python(target, _UNTIL_RELEASED)
    _await_ready(target, run_id)

    with socket.create_connection(("127.0.0.1", port)) as stranger:

        def is_let_go() -> bool:
            try:
                stranger.send(b"x")  # always in time for a byte, and never a whole line
            except OSError:
                return True
            return False

        wait_for(is_let_go)

    (bench.outside / "release").touch()
    assert wait_until_ended(target, run_id).status is RunStatus.COMPLETED


def test_a_cancel_without_a_line_is_recorded_after_the_grace_of_the_script(
    make: Make, bench: SparkJobBench, relay: Relay
) -> None:
    # given a script that uses its grace to the end, and can be told only through its master
    stubborn = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{_UNTIL_RELEASED}"
    target = make(driver_alone_seconds=300)
    run_id = bench.python(target, stubborn, cancel_grace_seconds=4.0)
    _await_ready(target, run_id)
    relay.is_stalled = True
    relay.cut()
    follow(target, run_id, lambda state: b"it is to call again" in state.log)

    # when
    target.cancel(run_id)
    ended = wait_until_ended(target, run_id)

    # then
    assert not pids_carrying(f"{run_id}.driver")
    assert ended.status is RunStatus.CANCELED, ended


def test_a_cancel_without_a_line_reaches_a_script_that_calls_again(
    make: Make, bench: SparkJobBench, relay: Relay
) -> None:
    saves = """
def save(*_):
    print("saved", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
"""
    target = make(driver_alone_seconds=60)
    run_id = bench.python(target, f"import signal, sys{saves}{_UNTIL_RELEASED}")
    _await_ready(target, run_id)
    relay.is_stalled = True
    relay.cut()
    follow(target, run_id, lambda state: b"it is to call again" in state.log)

    target.cancel(run_id)
    time.sleep(1)  # in which the cancel is taken, and no call comes through
    relay.is_stalled = False

    ended = wait_until_ended(target, run_id)
    assert ended.status is RunStatus.CANCELED, ended
    assert b"saved\n" in ended.log


def test_a_submitter_waits_for_longer_than_a_keeper_that_hears_nothing_of_it_lives() -> None:
    alone, grace = 300.0, 30.0
    with listen(None) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with ThreadPoolExecutor(1) as pool:
            called = pool.submit(entry.call, address, "secret", "driver-1", needs_agent=False)
            connection, _ = listener.accept()
            assert take_call(connection, "secret", lambda _: True, lambda: 30.0)
            keepers, _ = called.result()

    with keepers, connection:
        silence = keepers.gettimeout()

    assert silence is not None
    last_call = entry.CONNECT_SECONDS + entry.HANDSHAKE_SECONDS
    assert longest_life(alone, grace) > silence + alone + last_call + grace


def test_nothing_is_left_of_a_driver_whose_keeper_was_killed(
    make: Make, bench: SparkJobBench, master: LocalMaster, settings: Settings
) -> None:
    target = make()
    run_id = bench.python(target, _UNTIL_RELEASED)
    _await_ready(target, run_id)
    (root,) = master.roots

    (keeper,) = master.keepers
    os.kill(keeper, signal.SIGKILL)

    wait_for(lambda: not root.exists())
    wait_for(lambda: not pids_carrying(f"{run_id}.driver"))
    assert not root.exists()
    kill_supervisor(settings.local_root.with_name("spark-cluster"), run_id)
