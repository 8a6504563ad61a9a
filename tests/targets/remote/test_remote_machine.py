"""A machine reached from elsewhere: the contract, and what is the same as here."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from airflow_mltrain.errors import TargetError, TargetUnreachableError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import ComputeTarget, JobState
from airflow_mltrain.targets.local import LocalTarget
from airflow_mltrain.targets.remote_machine import MachineSettings, RemoteMachine
from airflow_mltrain.targets.session_keeper import keeper_of
from tests.contracts.compute_target import ComputeTargetContract
from tests.services.agent_process import AgentProcess
from tests.services.fragile_agent import FragileAgent
from tests.services.jobs import (
    JobBench,
    wait_until,
    wait_until_ended,
)

_UNTIL_RELEASED = 'while [ ! -e "$OUTSIDE/release" ]; do sleep 0.02; done'
# A whole machine whose clock is an hour ahead: what it starts has the same clock.
_AHEAD = """#!/bin/sh
[ "$5" = -c ] || exec {python} "$@"
code="import sys, time; now = time.time; time.time = lambda: now() + 3600; sys.executable = '$0'
$6"
shift 6
exec {python} -I -S -X utf8 -c "$code" "$@"
"""


class _Elsewhere(RemoteMachine):
    """The machine with this root folder, as another process finds it too."""

    def __init__(self, root: Path) -> None:
        keeper = keeper_of(root, AgentProcess(root).open_session)
        super().__init__("elsewhere", keeper, MachineSettings(), label="a process")
        self._root = root

    def __reduce__(self) -> tuple[object, ...]:
        return _Elsewhere, (self._root,)


class TestRemoteMachine(ComputeTargetContract):
    @pytest.fixture
    def target(self, root: Path) -> ComputeTarget:
        return _Elsewhere(root)

    @pytest.fixture
    def same_target(self, root: Path) -> ComputeTarget:
        return _Elsewhere(root)


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


def test_the_settings_variables_reach_the_script_and_are_written_nowhere(
    agent: FragileAgent, bench: JobBench, root: Path
) -> None:
    # given
    variables = {"SSL_CERT_FILE": "/etc/our.pem", "MY_TOKEN": "it's a \n 's3cret-of-mine' \udcff"}
    settings = MachineSettings(environment_variables=variables)
    target = agent.target(settings)
    script = (
        "import json, os, pathlib\n"
        "lines = [path.read_bytes() for path in pathlib.Path('/proc').glob('[0-9]*/cmdline')]\n"
        "print(json.dumps([dict(os.environ), b's3cret' + b'-of-mine' in b''.join(lines)]))\n"
    )

    # when
    state = wait_until_ended(target, bench.python(target, script))

    # then
    found, is_in_an_argument = json.loads(state.log)
    assert {name: found[name] for name in variables} == variables
    assert not is_in_an_argument
    files = [path for path in root.glob("runs/**/*") if path.is_file() and path.name != "log"]
    assert not any(b"s3cret-of-mine" in path.read_bytes() for path in files)
    assert (root / "runs" / bench.run_ids[0] / "job.json") in files
    assert "s3cret-of-mine" not in repr(settings)


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


def _ended(target: RemoteMachine | LocalTarget, run_id: str) -> JobState:
    """How a job ended, but for the clock and its own id."""
    state = wait_until_ended(target, run_id)
    assert state.started_at is None or state.ended_at is not None
    reason = state.reason and state.reason.replace(run_id, "run")
    return state._replace(started_at=None, ended_at=None, reason=reason)
