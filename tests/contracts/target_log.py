"""What every compute target promises about logs and metrics."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.metric_line import parse_metric_lines
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import ComputeTarget, Seen
from tests.contracts.target_bench import BenchContract
from tests.services.jobs import follow, wait_for_log, wait_until_ended

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.jobs import JobBench

_TWO_PARTS = 'printf one; while [ ! -e "$OUTSIDE/release" ]; do sleep 0.02; done; printf two'
_BURST_BYTES = 50 * 1024 * 1024


class LogContract(BenchContract):
    """Every byte once, in order, to the end, however fast it came."""

    @pytest.mark.line
    def test_the_log_grows_while_the_script_runs(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, _TWO_PARTS)

        early = wait_for_log(target, run_id, b"one")
        (bench.outside / "release").touch()

        assert (early.status, early.log, early.log_bytes) == (RunStatus.RUNNING, b"one", None)
        assert wait_until_ended(target, run_id).log == b"onetwo"

    @pytest.mark.line
    def test_a_position_never_repeats_or_skips_a_byte(
        self, target: ComputeTarget, same_target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "printf 0123456789")
        wait_until_ended(target, run_id)

        rest = [
            same_target.observe({run_id: Seen(RunStatus.RUNNING, log=position)}, 0)[run_id].log
            for position in (0, 4, 9, 10)
        ]

        assert rest == [b"0123456789", b"456789", b"9", b""]

    @pytest.mark.driver
    @pytest.mark.line
    def test_every_byte_value_survives(self, target: ComputeTarget, bench: JobBench) -> None:
        run_id = bench.python(target, "import sys; sys.stdout.buffer.write(bytes(range(256)) * 3)")

        assert wait_until_ended(target, run_id).log == bytes(range(256)) * 3

    def test_standard_error_and_output_keep_their_order(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "echo 1; echo 2 >&2; echo 3; echo 4 >&2")

        assert wait_until_ended(target, run_id).log == b"1\n2\n3\n4\n"

    @pytest.mark.driver
    @pytest.mark.line
    def test_a_burst_of_fifty_megabytes_arrives_whole(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        script = (
            "import os\nblock = b''.join(b'%07d\\n' % n for n in range(131072))\n"
            f"for _ in range({_BURST_BYTES} // len(block)):\n    os.write(1, block)\n"
        )
        block = b"".join(b"%07d\n" % number for number in range(131072))

        run_id = bench.python(target, script)

        state = wait_until_ended(target, run_id)
        assert state.log_bytes == len(state.log) == _BURST_BYTES
        expected = hashlib.sha256(block * (_BURST_BYTES // len(block)))
        assert hashlib.sha256(state.log).digest() == expected.digest()

    @pytest.mark.driver(elsewhere=True)
    @pytest.mark.line
    def test_metrics_arrive_while_the_script_runs(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        script = (
            "import os, time, mltrain\nrun = mltrain.Run.get_context()\n"
            "run.log('loss', 0.5)\n"
            "while not os.path.exists(os.environ['OUTSIDE'] + '/release'): time.sleep(0.02)\n"
            "run.log('loss', 0.25)\n"
        )
        run_id = bench.python(target, script)

        early = follow(target, run_id, lambda state: state.metrics.endswith(b"\n"))
        (bench.outside / "release").touch()

        state = wait_until_ended(target, run_id)
        assert early.status is RunStatus.RUNNING
        assert [json.loads(line)["value"] for line in early.metrics.splitlines()] == [0.5]
        assert [json.loads(line)["value"] for line in state.metrics.splitlines()] == [0.5, 0.25]
        assert state.metrics_bytes == len(state.metrics)

    def test_a_script_is_told_of_its_run_and_keeps_files_and_children(
        self, target: ComputeTarget, bench: JobBench, tmp_path: Path
    ) -> None:
        script = (
            "from azureml.core import Run\nrun = Run.get_context()\n"
            "print(run.experiment.name, run.number, run.get_tags())\n"
            "run.upload_file('a.txt', 'train.py')\n"
            "run.child_run(run_id='x').log('loss', 0.5)\n"
        )
        facts = {"experiment": "churn", "number": 7, "tags": {"team": "growth"}}
        run_id = bench.python(target, script, facts=facts)
        (tmp_path / "fetched").mkdir()

        state = wait_until_ended(target, run_id)

        target.fetch(run_id, tmp_path / "fetched")
        assert state.log == b"churn 7 {'team': 'growth'}\n"
        assert (tmp_path / "fetched/outputs/a.txt").read_text() == script
        assert f"{run_id}_x" in parse_metric_lines(state.metrics, is_complete=True).runs

    def test_a_hundred_thousand_metrics_arrive_whole(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        script = (
            "import mltrain\nrun = mltrain.Run.get_context()\n"
            "for number in range(100000): run.log('loss', number)\n"
        )

        run_id = bench.python(target, script)

        state = follow(target, run_id, lambda state: len(state.metrics) == state.metrics_bytes)
        values = [json.loads(line)["value"] for line in state.metrics.splitlines()]
        assert values == list(range(100_000))
