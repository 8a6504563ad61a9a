"""What every compute target promises about starting jobs and how they end."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Seen
from tests.contracts.target_bench import BenchContract
from tests.services.jobs import wait_until_ended
from tests.services.processes import run_together

if TYPE_CHECKING:
    from airflow_mltrain.targets.base import ComputeTarget, Job
    from tests.services.jobs import JobBench

HOSTILE_WORDS = [
    "",
    " ",
    "two words",
    "it's",
    'a "quoted" word',
    "$HOME ${HOME} $(id) `id`",
    "back\\slash \\n",
    "new\nline",
    "*?[a-z]{a,b}~",
    "-rf --",
    "a;b|c&d>e<f#g!h%s",
    "naïve ☃ 日本 \U0001f680",
    "not utf-8: \udcff",
    "tab\there\r",
    "x" * 20_000,
]
_SHOW = """
import json, os, sys
print(json.dumps([sys.argv[1:], {k: v for k, v in os.environ.items() if k.startswith("MY_")}]))
"""
_SEARCH = """
import hashlib, os, pathlib
secret = os.environ["MY_SECRET"].encode()
print(hashlib.sha256(secret).hexdigest())

def holds(path):
    try:
        return path.is_file() and secret in path.read_bytes()
    except OSError:  # a process that just ended
        return False

places = [*pathlib.Path(os.environ["MLTRAIN_CODE"]).parent.rglob("*")]
places += pathlib.Path("/proc").glob("[0-9]*/cmdline")
print([str(path) for path in places if holds(path)])
"""
_RUN_ONCE = 'echo ran >> "$OUTSIDE/ran"'
_STARTER = (
    "import pickle, sys; target, job = pickle.load(sys.stdin.buffer); "
    "print('ready', flush=True); target.start(job)"
)


def start(work: tuple[ComputeTarget, Job]) -> None:
    """Start a job as another process does."""
    target, job = work
    target.start(job)


class StartContract(BenchContract):
    """Starting, once and only once, and the end of a job."""

    def test_a_script_that_ends_well_is_completed(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        before = datetime.now(timezone.utc) - timedelta(seconds=1)

        run_id = bench.shell(target, "echo trained")

        state = wait_until_ended(target, run_id)
        assert (state.status, state.exit_code, state.reason) == (RunStatus.COMPLETED, 0, None)
        assert state.log == b"trained\n"
        assert state.started_at is not None
        assert state.ended_at is not None
        assert before < state.started_at <= state.ended_at <= datetime.now(timezone.utc)

    def test_a_script_that_exits_with_a_code_fails_with_it(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "echo so far; exit 7")

        state = wait_until_ended(target, run_id)
        assert (state.status, state.exit_code) == (RunStatus.FAILED, 7)
        assert state.reason == "exit code 7"
        assert state.log == b"so far\n"

    def test_a_script_that_is_killed_says_by_which_signal(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "kill -SEGV $$")

        state = wait_until_ended(target, run_id)
        assert (state.status, state.exit_code) == (RunStatus.FAILED, 128 + 11)
        assert state.reason == "killed by SIGSEGV"

    def test_a_missing_program_is_named(self, target: ComputeTarget, bench: JobBench) -> None:
        job = bench.job(target, "no-such-program", "train.py")

        target.start(job)

        state = wait_until_ended(target, job.run_id)
        assert (state.status, state.exit_code) == (RunStatus.FAILED, 127)
        assert "'no-such-program'" in str(state.reason)

    def test_a_file_that_is_not_executable_is_named(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        job = bench.job(target, "./train.sh", files={"train.sh": "#!/bin/sh\n"})

        target.start(job)

        state = wait_until_ended(target, job.run_id)
        assert (state.status, state.exit_code) == (RunStatus.FAILED, 126)
        assert "'./train.sh'" in str(state.reason)

    @pytest.mark.driver(elsewhere=True)
    @pytest.mark.line
    def test_arguments_arrive_verbatim(self, target: ComputeTarget, bench: JobBench) -> None:
        run_id = bench.python(target, _SHOW, *HOSTILE_WORDS)

        state = wait_until_ended(target, run_id)
        assert json.loads(state.log)[0] == HOSTILE_WORDS

    @pytest.mark.driver
    def test_variables_arrive_verbatim(self, target: ComputeTarget, bench: JobBench) -> None:
        variables = {f"MY_{number}": word for number, word in enumerate(HOSTILE_WORDS)}

        run_id = bench.python(target, _SHOW, environment_variables=variables)

        state = wait_until_ended(target, run_id)
        assert json.loads(state.log)[1] == variables

    @pytest.mark.driver
    @pytest.mark.line
    def test_a_secret_variable_reaches_the_script_and_neither_a_file_nor_a_command_line(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.python(target, _SEARCH, secret_variables={"MY_SECRET": "it's a s3cret ☃"})

        state = wait_until_ended(target, run_id)
        digest = sha256("it's a s3cret ☃".encode()).hexdigest()
        assert state.log.decode().split("\n") == [digest, "[]", ""]

    def test_a_script_runs_in_its_own_copy_of_the_snapshot(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        files = {"it's data": "1, 2, 3\n"}
        script = 'cat "it\'s data"; echo spoilt >> "it\'s data"'
        first = bench.shell(target, script, files=files)
        wait_until_ended(target, first)

        second = bench.shell(target, script, files=files)

        assert wait_until_ended(target, second).log == b"1, 2, 3\n"

    def test_a_script_begins_with_the_signals_of_a_fresh_process(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        job = bench.job(target, "grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")

        target.start(job)

        state = wait_until_ended(target, job.run_id)
        masks = [int(line.split()[1], 16) for line in state.log.splitlines()]
        beyond_the_c_library = 0b11 << 31  # signals 32 and 33, which no program can reset
        assert [mask & ~beyond_the_c_library for mask in masks] == [0, 0]

    @pytest.mark.line
    def test_a_job_starts_once_what_it_needs_was_uploaded(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        # given
        text = f"echo {uuid4().hex}"
        job = bench.unsent_job("sh", "train.sh", files={"train.sh": f"{_RUN_ONCE}; {text}"})

        # when
        before = [target.start(job), target.start(job)]
        known_before = target.observe({job.run_id: Seen()}, 0)
        bench.send(target, job)
        after = [target.start(job), target.start(job)]

        # then
        assert (before, known_before, after) == ([False, False], {}, [True, True])
        assert wait_until_ended(target, job.run_id).status is RunStatus.COMPLETED
        assert (bench.outside / "ran").read_text() == "ran\n"

    @pytest.mark.line
    def test_a_blob_beside_its_snapshot_is_waited_for_too(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        content = uuid4().bytes
        digest = sha256(content).hexdigest()
        job = replace(bench.job(target, "sh", "-c", _RUN_ONCE), blobs=frozenset([digest]))
        is_started_before = target.start(job)
        (bench.folder / "wheel").write_bytes(content)
        target.upload({digest: bench.folder / "wheel"})

        is_started = target.start(job)

        assert (is_started_before, is_started) == (False, True)
        assert wait_until_ended(target, job.run_id).status is RunStatus.COMPLETED

    @pytest.mark.line
    def test_starting_twice_runs_once(
        self, target: ComputeTarget, same_target: ComputeTarget, bench: JobBench
    ) -> None:
        job = bench.job(target, "sh", "-c", _RUN_ONCE)
        target.start(job)
        target.start(job)
        wait_until_ended(target, job.run_id)

        same_target.start(job)

        assert wait_until_ended(target, job.run_id).status is RunStatus.COMPLETED
        assert (bench.outside / "ran").read_text() == "ran\n"

    @pytest.mark.driver
    @pytest.mark.line
    def test_starters_in_many_processes_at_once_run_it_once(
        self, target: ComputeTarget, same_target: ComputeTarget, bench: JobBench
    ) -> None:
        job = bench.job(target, "sh", "-c", _RUN_ONCE)

        run_together(start, [(target, job), (same_target, job)] * 3)

        assert wait_until_ended(target, job.run_id).status is RunStatus.COMPLETED
        assert (bench.outside / "ran").read_text() == "ran\n"

    @pytest.mark.parametrize(
        "milliseconds",
        [
            *(0, 1, 2, 4, 6, 8, 10, 13, 20, 24, 33, 40),
            *(pytest.param(number, marks=pytest.mark.line) for number in (16, 28, 50)),
        ],
    )
    def test_a_starter_that_is_killed_leaves_a_job_that_runs_once(
        self, target: ComputeTarget, bench: JobBench, milliseconds: int
    ) -> None:
        job = bench.job(target, "sh", "-c", _RUN_ONCE)
        with subprocess.Popen(
            [sys.executable, "-c", _STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as starter:
            assert starter.stdin is not None
            assert starter.stdout is not None
            starter.stdin.write(pickle.dumps((target, job)))
            starter.stdin.close()
            starter.stdout.readline()
            time.sleep(milliseconds / 1000)
            starter.kill()

        target.start(job)

        assert wait_until_ended(target, job.run_id).status is RunStatus.COMPLETED
        assert (bench.outside / "ran").read_text() == "ran\n"

    @pytest.mark.line
    def test_a_job_outlives_the_session_of_its_starter(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        script = 'while [ ! -e "$OUTSIDE/release" ]; do sleep 0.02; done; echo released'
        job = bench.job(target, "sh", "-c", script)
        with subprocess.Popen(
            [sys.executable, "-c", f"{_STARTER}; print('started', flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as starter:
            assert starter.stdin is not None
            assert starter.stdout is not None
            starter.stdin.write(pickle.dumps((target, job)))
            starter.stdin.flush()
            _ = starter.stdout.readline(), starter.stdout.readline()
            os.killpg(starter.pid, signal.SIGKILL)

        (bench.outside / "release").touch()

        assert wait_until_ended(target, job.run_id).log == b"released\n"

    def test_a_script_that_kills_its_process_group_kills_nobody_else(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "echo bye; kill -KILL 0")

        state = wait_until_ended(target, run_id)
        assert (state.status, state.exit_code) == (RunStatus.FAILED, 128 + 9)
        assert state.reason == "killed by SIGKILL"

    def test_a_job_outlives_its_starter(self, target: ComputeTarget, bench: JobBench) -> None:
        release = bench.outside / "release"
        script = 'while [ ! -e "$OUTSIDE/release" ]; do sleep 0.02; done; echo released'
        job = bench.job(target, "sh", "-c", script)
        run_together(start, [(target, job)])

        release.touch()

        assert wait_until_ended(target, job.run_id).log == b"released\n"

    def test_a_script_that_takes_too_long_is_stopped_and_fails(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        script = 'echo $$ > "$OUTSIDE/pid"; sleep 1000'

        run_id = bench.shell(target, script, max_run_duration_seconds=2)

        state = wait_until_ended(target, run_id)
        assert state.status is RunStatus.FAILED
        assert "max_run_duration_seconds" in str(state.reason)
        assert not bench.is_running(int((bench.outside / "pid").read_text()))

    def test_a_daemon_that_a_script_leaves_behind_is_stopped_and_the_run_completes(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(
            target, 'setsid env -i sleep 1000 & echo $! > "$OUTSIDE/pid"; printf "half a line"'
        )

        state = wait_until_ended(target, run_id)
        assert (state.status, state.exit_code) == (RunStatus.COMPLETED, 0)
        assert state.log.startswith(b"half a line\n[mltrain] the script has ended; stopping 1 ")
        assert not bench.is_running(int((bench.outside / "pid").read_text()))
