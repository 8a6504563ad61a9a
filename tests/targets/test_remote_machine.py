"""A machine reached from elsewhere: the same runs as here, over streams that break."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from airflow_mltrain.errors import JobStartError, TargetError, TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import JobState, Seen
from airflow_mltrain.targets.local import LocalTarget
from airflow_mltrain.targets.remote_machine import MachineSettings, RemoteMachine
from tests.services.agent_process import AgentProcess, ProcessStream
from tests.services.fragile_agent import FragileAgent, FragileStream
from tests.services.jobs import (
    JobBench,
    require_quiet,
    wait_for,
    wait_for_log,
    wait_until,
    wait_until_ended,
)

MakeAgent = Callable[..., FragileAgent]

_UNTIL_RELEASED = 'while [ ! -e "$OUTSIDE/release" ]; do sleep 0.02; done'
# A whole machine whose clock is an hour ahead: what it starts has the same clock.
_AHEAD = """#!/bin/sh
[ "$5" = -c ] || exec {python} "$@"
code="import sys, time; now = time.time; time.time = lambda: now() + 3600; sys.executable = '$0'
$6"
shift 6
exec {python} -I -S -X utf8 -c "$code" "$@"
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[JobBench]:
    bench = JobBench(tmp_path / "bench")
    yield bench
    require_quiet(bench)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "the machine's root"


@pytest.fixture
def make_agent(root: Path) -> Iterator[MakeAgent]:
    """Makes places for agents, all with the same root folder."""
    agents: list[FragileAgent] = []

    def make(*makers: Callable[[str], ProcessStream]) -> FragileAgent:
        agents.append(FragileAgent(root, *makers))
        return agents[-1]

    yield make
    for agent in agents:
        agent.close()


@pytest.fixture
def agent(make_agent: MakeAgent) -> FragileAgent:
    return make_agent()


@pytest.fixture
def target(agent: FragileAgent) -> RemoteMachine:
    return agent.target()


def test_states_are_what_the_same_job_has_on_this_machine(
    target: RemoteMachine, bench: JobBench, tmp_path: Path
) -> None:
    # given
    local = LocalTarget("local", tmp_path / "local")
    scripts = ["echo trained", "exit 7", "kill -TERM $$", "no-such-program", "head -c 9999 $0"]

    # when
    there = [_ended(target, bench.shell(target, script)) for script in scripts]
    here = [_ended(local, bench.shell(local, script)) for script in scripts]

    # then
    assert there == here


def test_a_run_that_appears_while_it_is_asked_for_is_seen(
    target: RemoteMachine, bench: JobBench
) -> None:
    # given
    job = bench.job(target, "sh", "-c", "echo trained")
    before = [target.observe({job.run_id: Seen()}, 0.01) for _ in range(3)]

    # when
    target.start(job)

    # then
    assert before == [{}, {}, {}]
    assert wait_until_ended(target, job.run_id).log == b"trained\n"


def test_a_run_that_has_no_news_is_still_among_the_answers(
    target: RemoteMachine, bench: JobBench
) -> None:
    # given
    run_id = bench.shell(target, f"echo begun; {_UNTIL_RELEASED}")
    wait_for_log(target, run_id, b"begun\n")
    seen = Seen(RunStatus.RUNNING, log=6)

    # when
    answers = [target.observe({run_id: seen, "unknown": Seen()}, 0.01) for _ in range(3)]

    # then
    assert [list(answer) for answer in answers] == [[run_id]] * 3
    assert {answer[run_id].status for answer in answers} == {RunStatus.RUNNING}
    (bench.outside / "release").touch()
    wait_until_ended(target, run_id)


def test_what_was_not_taken_in_is_told_again(target: RemoteMachine, bench: JobBench) -> None:
    # given
    run_id = bench.shell(target, f"echo begun; {_UNTIL_RELEASED}")
    wait_for_log(target, run_id, b"begun\n")

    # when
    answers = [target.observe({run_id: Seen(RunStatus.RUNNING)}, 5)[run_id] for _ in range(3)]

    # then
    assert [answer.log for answer in answers] == [b"begun\n"] * 3
    (bench.outside / "release").touch()
    wait_until_ended(target, run_id)


def test_what_is_asked_about_may_change_from_one_question_to_the_next(
    target: RemoteMachine, bench: JobBench
) -> None:
    # given
    first, second = (bench.shell(target, f"echo {number}") for number in (1, 2))
    _ = wait_until_ended(target, first), wait_until_ended(target, second)
    questions = [[first], [first, second], [second], [], [second, first], [first]]

    # when
    answers = [target.observe(dict.fromkeys(question, Seen()), 5) for question in questions]

    # then
    assert [sorted(answer) for answer in answers] == [sorted(question) for question in questions]
    assert {answer[first].log for answer in answers if first in answer} == {b"1\n"}
    assert {answer[second].log for answer in answers if second in answer} == {b"2\n"}


def test_threads_that_watch_different_runs_do_not_mix_them_up(
    target: RemoteMachine, bench: JobBench
) -> None:
    # given
    script = "for n in 1 2 3 4 5 6 7 8; do echo {0}-$n; sleep 0.05; done; exit {0}"
    run_ids = [bench.shell(target, script.format(number)) for number in range(8)]

    # when
    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(lambda run_id: wait_until_ended(target, run_id), run_ids))

    # then
    assert [state.exit_code for state in states] == list(range(8))
    expected = ["".join(f"{number}-{n}\n" for n in range(1, 9)).encode() for number in range(8)]
    assert [state.log for state in states] == expected


def test_a_cancel_passes_an_observation_that_waits(target: RemoteMachine, bench: JobBench) -> None:
    # given
    run_id = bench.shell(target, "echo begun; sleep 1000")
    wait_for_log(target, run_id, b"begun\n")

    # when
    with ThreadPoolExecutor(1) as pool:
        seen = {run_id: Seen(RunStatus.RUNNING, log=6)}
        waiting = pool.submit(target.observe, seen, 60)
        target.cancel(run_id)
        answer = waiting.result(20)

    # then
    assert answer[run_id].status in (RunStatus.CANCEL_REQUESTED, RunStatus.CANCELED)
    assert wait_until_ended(target, run_id).status is RunStatus.CANCELED


def test_a_log_of_fifty_megabytes_comes_whole(target: RemoteMachine, bench: JobBench) -> None:
    # given
    script = (
        "import sys\n"
        "for number in range(50):\n"
        "    sys.stdout.buffer.write(b'%09d\\n' % number * 100_000)\n"
    )

    # when
    state = wait_until_ended(target, bench.python(target, script))

    # then
    assert state.log == b"".join(b"%09d\n" % number * 100_000 for number in range(50))


def test_the_settings_variables_reach_the_script_and_are_written_nowhere(
    agent: FragileAgent, bench: JobBench, root: Path
) -> None:
    # given
    variables = {"SSL_CERT_FILE": "/etc/our.pem", "MY_TOKEN": "it's a \n 'secret' \udcff"}
    target = agent.target(MachineSettings(environment_variables=variables))
    script = "import json, os; print(json.dumps(dict(os.environ)), flush=True); input()"
    job = bench.job(target, "python3", "-c", f"{script}", environment_variables={"MINE": "1"})
    command = f"cat /proc/*/cmdline | tr '\\0' '\\n'; {_UNTIL_RELEASED}"

    # when
    shown = bench.python(target, script.replace("; input()", ""))
    listing = bench.shell(target, command)
    (bench.outside / "release").touch()

    # then
    found = json.loads(wait_until_ended(target, shown).log)
    assert {name: found[name] for name in variables} == variables
    assert b"'secret'" not in wait_until_ended(target, listing).log
    texts = [path.read_text() for path in root.rglob("*.json")]
    assert len(texts) >= 4
    assert not any("secret" in text for text in texts)
    assert "secret" not in repr(MachineSettings(environment_variables=variables))
    assert job.environment_variables["MINE"] == "1"


def test_a_jobs_own_variables_win_over_the_settings(agent: FragileAgent, bench: JobBench) -> None:
    # given
    target = agent.target(MachineSettings(environment_variables={"WHOSE": "the machine's"}))

    # when
    run_id = bench.shell(target, "echo $WHOSE", environment_variables={"WHOSE": "the job's"})

    # then
    assert wait_until_ended(target, run_id).log == b"the job's\n"


def test_instants_are_those_of_this_clock(bench: JobBench, root: Path, tmp_path: Path) -> None:
    # given
    program = tmp_path / "python ahead"
    program.write_text(_AHEAD.format(python=sys.executable))
    program.chmod(0o755)
    agent = AgentProcess(root, str(program))
    target = agent.target()
    before = datetime.now(timezone.utc)

    # when
    state = wait_until_ended(target, bench.shell(target, "true"))

    # then
    recorded = json.loads((root / "runs" / bench.run_ids[0] / "state.json").read_text())
    ahead = datetime.fromtimestamp(recorded["ended_at"], timezone.utc) - before
    assert ahead > timedelta(minutes=59)
    assert state.started_at is not None
    assert state.ended_at is not None
    slack = timedelta(seconds=0.5)
    assert before - slack < state.started_at <= state.ended_at
    assert state.ended_at < datetime.now(timezone.utc) + slack
    agent.close()


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


def test_a_machine_whose_agents_keep_dying_is_unreachable(make_agent: MakeAgent) -> None:
    # given
    dying = [lambda line: FragileStream(line, most_sent=7_000)] * 2
    make_agent().target().place  # noqa: B018 - the agent is brought
    agent = make_agent(*dying)
    target = agent.target()

    # when
    with pytest.raises(TargetUnreachableError, match="does not answer") as refusal:
        target.missing(["0" * 64] * 10_000)

    # then
    assert "compute target 'elsewhere' (a process)" in str(refusal.value)
    assert len(agent.streams) == 2
    assert target.missing(["0" * 64]) == {"0" * 64}


def test_a_fetch_that_is_cut_again_and_again_goes_on(
    make_agent: MakeAgent, bench: JobBench, tmp_path: Path
) -> None:
    # given
    starter = make_agent().target()
    script = (
        "import os\n"
        "for number in range(100): open(f'outputs/{number}', 'wb').write(os.urandom(200_000))\n"
    )
    run_id = bench.python(starter, script)
    wait_until_ended(starter, run_id)
    agent = make_agent(*[lambda line: FragileStream(line, most_received=6_000_000)] * 3)

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


def test_a_start_that_is_cut_runs_the_job_once(make_agent: MakeAgent, bench: JobBench) -> None:
    # given
    job = bench.job(make_agent().target(), "sh", "-c", 'echo ran >> "$OUTSIDE/ran"')
    agent = make_agent(lambda line: _CutWhileAnswering(line))
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


def test_a_job_that_lives_is_not_discarded_there_either(
    target: RemoteMachine, bench: JobBench
) -> None:
    # given
    run_id = bench.shell(target, _UNTIL_RELEASED)
    wait_until(target, run_id, RunStatus.RUNNING)

    # when
    with pytest.raises(TargetError, match="has not ended; cancel it first") as refusal:
        target.discard(run_id)

    # then
    assert not isinstance(refusal.value, TargetUnreachableError)
    (bench.outside / "release").touch()
    wait_until_ended(target, run_id)


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


def _ended(target: RemoteMachine | LocalTarget, run_id: str) -> JobState:
    """How a job ended, but for the clock and its own id."""
    state = wait_until_ended(target, run_id)
    assert state.started_at is None or state.ended_at is not None
    reason = state.reason and state.reason.replace(run_id, "run")
    return replace(state, started_at=None, ended_at=None, reason=reason)


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if os.path.isfile(path)
    }
