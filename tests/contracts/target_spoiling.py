"""What a target promises of a script that spoils the folder its job is kept in."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import Seen
from tests.contracts.target_bench import BenchContract
from tests.services.jobs import pids_carrying, wait_for, wait_until_ended

if TYPE_CHECKING:
    from airflow_mltrain.targets.base import ComputeTarget
    from tests.services.jobs import JobBench

_EACH = "for one in cancel lock log; do rm -f ../$one;"
_SPOILERS = {
    "folders": "mkdir ../cancel ../cancel/full ../lock; chmod 0 .. ../..",
    "links": f'{_EACH} ln -s "$OUTSIDE/written" ../$one; done',
    "pipes": f"{_EACH} mkfifo ../$one; done; chmod 0 ../..",
    "a lock that is held": "exec 9> ../lock; flock 9",
}
_ELSEWHERE = {
    "a link to elsewhere": (
        'job=$(cd ..; pwd); mkdir "$OUTSIDE/other"; mv "$job" "$OUTSIDE/own"; '
        'ln -s "$OUTSIDE/other" "$job"'
    )
}
_ANY = pytest.mark.parametrize(
    "spoiler", [*_SPOILERS.values(), *_ELSEWHERE.values()], ids=[*_SPOILERS, *_ELSEWHERE]
)
_FAMILY = """
(setsid sleep 1000 & echo $! >> "$OUTSIDE/pids")
sleep 1000 & echo $! >> "$OUTSIDE/pids"
touch "$OUTSIDE/ready"
"""


def _pids(bench: JobBench) -> list[int]:
    return [int(line) for line in (bench.outside / "pids").read_text().split()]


def _begin(target: ComputeTarget, bench: JobBench, spoiler: str, then: str) -> str:
    run_id = bench.shell(target, f"{spoiler}\n{_FAMILY}{then}")
    wait_for((bench.outside / "ready").exists)
    return run_id


def _require_nothing_left(bench: JobBench) -> None:
    assert len(_pids(bench)) == 2
    assert [pid for pid in _pids(bench) if bench.is_running(pid)] == []
    assert not (bench.outside / "written").exists()
    assert list(bench.outside.glob("other/*")) == []


def _kill_what_is_left(run_id: str) -> bool:
    """Whether there was anything of a run; what is killed may have begun another process."""
    pids = pids_carrying(run_id)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


class SpoilingContract(BenchContract):
    """Its job ends as it would have, no process is left, no other job is in its way."""

    @_ANY
    def test_a_script_that_spoils_its_folder_comes_to_its_end(
        self, target: ComputeTarget, bench: JobBench, spoiler: str
    ) -> None:
        # when
        run_id = _begin(target, bench, spoiler, "exit 0")

        # then
        ended = wait_until_ended(target, run_id)
        assert (ended.status, ended.reason) == (RunStatus.COMPLETED, None)
        _require_nothing_left(bench)
        assert wait_until_ended(target, bench.shell(target, "echo hello")).log == b"hello\n"

    @_ANY
    def test_it_can_be_canceled(
        self, target: ComputeTarget, bench: JobBench, spoiler: str
    ) -> None:
        # given
        run_id = _begin(target, bench, spoiler, "sleep 1000")

        # when
        target.cancel(run_id)

        # then
        assert wait_until_ended(target, run_id).status is RunStatus.CANCELED
        _require_nothing_left(bench)
        target.discard(run_id)

    @pytest.mark.parametrize("spoiler", _SPOILERS.values(), ids=_SPOILERS)
    def test_one_that_also_kills_its_supervisor_is_stopped(
        self, target: ComputeTarget, bench: JobBench, spoiler: str
    ) -> None:
        # when
        run_id = _begin(target, bench, spoiler, "kill -9 $PPID; sleep 1000")

        # then
        ended = wait_until_ended(target, run_id)
        assert ended.status is RunStatus.FAILED
        assert ended.reason
        _require_nothing_left(bench)

    def test_one_that_hides_its_folder_and_kills_its_supervisor_is_lost_and_goes_on(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        """The limit: nothing is left that says which processes were the job's."""
        # when
        spoiler = _ELSEWHERE["a link to elsewhere"]
        run_id = _begin(target, bench, spoiler, "kill -9 $PPID; sleep 1000")

        # then
        wait_for(lambda: not target.observe({run_id: Seen()}, 0))
        assert [pid for pid in _pids(bench) if bench.is_running(pid)]
        wait_for(lambda: not _kill_what_is_left(run_id))
