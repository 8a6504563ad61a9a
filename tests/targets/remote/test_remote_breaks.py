"""Agents that die and streams that are cut, and runs that do not notice."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from airflow_mltrain.errors import JobStartError, TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Seen
from airflow_mltrain.targets.local import LocalTarget
from airflow_mltrain.targets.remote_machine import RemoteMachine
from tests.services.fragile_agent import FragileAgent, FragileAgents, FragileStream
from tests.services.jobs import (
    JobBench,
    wait_for,
    wait_for_log,
    wait_until_ended,
)

_UNTIL_RELEASED = 'while [ ! -e "$OUTSIDE/release" ]; do sleep 0.02; done'


def test_an_agent_that_dies_while_it_is_asked_is_replaced_unnoticed(
    agent: FragileAgent, target: RemoteMachine, bench: JobBench
) -> None:
    # given
    run_id = bench.shell(target, f"echo begun; {_UNTIL_RELEASED}; echo done")
    wait_for_log(target, run_id, b"begun\n")
    killer = threading.Timer(0.3, agent.streams[0].cut)
    killer.start()

    # when
    answer = target.observe({run_id: Seen(RunStatus.RUNNING, log=6)}, 1.5)

    # then
    assert answer[run_id].status is RunStatus.RUNNING
    assert len(agent.streams) == 2
    (bench.outside / "release").touch()
    assert wait_until_ended(target, run_id).log == b"begun\ndone\n"


def test_a_machine_whose_agents_keep_dying_is_unreachable(agents: FragileAgents) -> None:
    # given
    dying = [lambda line: FragileStream(line, most_sent=7_000)] * 2
    agents.place().target().place  # noqa: B018 - the agent is brought
    agent = agents.place(*dying)
    target = agent.target()

    # when
    with pytest.raises(TargetUnreachableError, match="does not answer") as refusal:
        target.missing([os.urandom(32).hex() for _ in range(10_000)])

    # then
    assert "compute target 'elsewhere' (a process)" in str(refusal.value)
    assert len(agent.streams) == 2
    assert target.missing(["0" * 64]) == {"0" * 64}


def test_a_fetch_that_is_cut_again_and_again_goes_on(
    agents: FragileAgents, bench: JobBench, tmp_path: Path
) -> None:
    # given
    starter = agents.place().target()
    script = (
        "import os\n"
        "for number in range(100): open(f'outputs/{number}', 'wb').write(os.urandom(200_000))\n"
    )
    run_id = bench.python(starter, script)
    wait_until_ended(starter, run_id)
    agent = agents.place(*[lambda line: FragileStream(line, most_received=6_000_000)] * 3)

    # when
    left_behind = agent.target().fetch(run_id, _empty(tmp_path / "there"))

    # then
    LocalTarget("local", agent.root).fetch(run_id, _empty(tmp_path / "here"))
    assert left_behind == ()
    assert len(agent.streams) == 4
    assert sum(agent.received) < 21_000_000
    here, there = _contents(tmp_path / "here"), _contents(tmp_path / "there")
    assert len(here) == 101
    assert here == there


def test_a_start_that_is_cut_runs_the_job_once(agents: FragileAgents, bench: JobBench) -> None:
    # given
    job = bench.job(agents.place().target(), "sh", "-c", 'echo ran >> "$OUTSIDE/ran"')
    agent = agents.place(_CutWhileAnswering)
    target = agent.target()

    # when
    target.start(job)

    # then
    assert wait_until_ended(target, job.run_id).status is RunStatus.COMPLETED
    assert (bench.outside / "ran").read_text() == "ran\n"
    assert len(agent.streams) == 2


def test_a_machine_whose_root_folder_is_gone_says_what_cannot_be_done(
    target: RemoteMachine, bench: JobBench, root: Path
) -> None:
    # given
    job = bench.job(target, "true")
    runs = root / "runs"
    runs.symlink_to("nowhere/at/all")

    # when
    with pytest.raises(JobStartError, match="could not start the run") as refusal:
        target.start(job)

    # then
    assert "runs" in str(refusal.value)
    assert "'elsewhere' (a process)" in str(refusal.value)


def test_a_supervisor_outlives_the_agent_that_started_it(
    agent: FragileAgent, target: RemoteMachine, bench: JobBench
) -> None:
    # given
    run_id = bench.shell(target, f"echo begun; {_UNTIL_RELEASED}; echo done")
    wait_for_log(target, run_id, b"begun\n")

    # when
    agent.streams[0].cut()
    (bench.outside / "release").touch()

    # then
    wait_for(lambda: (agent.root / "runs" / run_id / "log").read_bytes() == b"begun\ndone\n")
    assert wait_until_ended(target, run_id).status is RunStatus.COMPLETED


class _CutWhileAnswering(FragileStream):
    """Loses the first answer that the agent gives: nobody knows whether it did as it was asked."""

    def receive(self, count: int) -> bytes:
        content = super().receive(count)
        if self._is_begun and content:
            self.cut()
            return b""
        self._is_begun = self._is_begun or b'"place"' in content
        return content

    _is_begun = False


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
