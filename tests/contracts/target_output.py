"""What every compute target promises about outputs, and scripts that tidy up too much."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import PreviousOutputs, Seen
from tests.contracts.target_bench import BenchContract
from tests.services.jobs import wait_for, wait_for_log, wait_until, wait_until_ended

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mltrain.targets.base import ComputeTarget
    from tests.services.jobs import JobBench

_GO_ON = """
import os, pathlib
previous = pathlib.Path(os.environ["MLTRAIN_PREVIOUS_OUTPUTS"])
names = sorted(str(path.relative_to(previous)) for path in previous.rglob("*"))
print(names, (previous / "last").read_text(), end="")
(previous / "last").write_text("changed")
"""


def _fetch(target: ComputeTarget, run_id: str, bench: JobBench) -> tuple[Path, tuple[str, ...]]:
    destination = bench.folder / f"fetched {run_id}"
    destination.mkdir()
    return destination, target.fetch(run_id, destination)


class OutputContract(BenchContract):
    """What a job leaves in outputs/ and logs/ comes back, and nothing else does."""

    @pytest.mark.line
    def test_outputs_logs_and_the_log_come_back_as_they_were(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        script = (
            "echo hello; mkdir -p outputs/deep/empty; printf 'a\\0b' > outputs/deep/model.bin; "
            "echo run > outputs/tool; chmod 755 outputs/tool; "
            "ln -s deep/model.bin outputs/latest; "
            "echo event > logs/events; echo scratch > scratch"
        )
        run_id = bench.shell(target, script)
        wait_until_ended(target, run_id)

        here, left_behind = _fetch(target, run_id, bench)

        found = sorted(str(path.relative_to(here)) for path in here.rglob("*"))
        assert found == [
            "log", "logs", "logs/events", "outputs", "outputs/deep", "outputs/deep/empty",
            "outputs/deep/model.bin", "outputs/latest", "outputs/tool",
        ]  # fmt: skip
        assert (here / "log").read_bytes() == b"hello\n"
        assert (here / "outputs/latest").read_bytes() == b"a\0b"
        assert (here / "outputs/latest").is_symlink()
        assert (here / "outputs/tool").stat().st_mode & 0o777 == 0o755
        assert left_behind == ()

    @pytest.mark.driver(elsewhere=True)
    def test_outputs_of_a_failed_job_come_back(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "echo half > outputs/model; exit 1")
        wait_until_ended(target, run_id)

        here, _ = _fetch(target, run_id, bench)

        assert (here / "outputs/model").read_text() == "half\n"

    @pytest.mark.driver
    def test_a_job_goes_on_from_its_own_copy_of_what_an_ended_one_left(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        # given
        script = (
            "mkdir -p outputs/deep; echo 3 > outputs/deep/epoch; ln -s deep/epoch outputs/last; "
            "ln -s /etc/passwd outputs/leaving; mkfifo outputs/pipe; exit 1"
        )
        first = bench.shell(target, script)
        wait_until_ended(target, first)
        _fetch(target, first, bench)

        # when
        job = bench.job(
            target,
            "python3",
            "train.py",
            files={"train.py": _GO_ON},
            previous_outputs=PreviousOutputs(first),
        )
        assert target.start(job)

        # then
        state = wait_until_ended(target, job.run_id)
        assert state.log == b"['deep', 'deep/epoch', 'last'] 3\n"
        assert (bench.folder / f"fetched {first}/outputs/last").read_bytes() == b"3\n"

    @pytest.mark.line
    def test_a_job_gets_what_it_goes_on_from_sent_where_the_target_has_it_no_longer(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        # given
        left = bench.unsent_job("true", files={"last": "4\n"})
        gone = PreviousOutputs("run-that-is-gone")
        job = bench.job(
            target, "python3", "train.py", files={"train.py": _GO_ON}, previous_outputs=gone
        )
        assert not target.start(job)
        assert target.observe({job.run_id: Seen()}, 0) == {}

        # when
        bench.send(target, left)
        sent = PreviousOutputs(gone.run_id, left.snapshot_id)
        assert target.start(replace(job, previous_outputs=sent))

        # then
        assert wait_until_ended(target, job.run_id).log == b"['last'] 4\n"

    def test_outputs_of_a_canceled_job_come_back(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "echo half > outputs/model; echo ready; sleep 1000")
        wait_for_log(target, run_id, b"ready")
        target.cancel(run_id)
        assert wait_until_ended(target, run_id).status is RunStatus.CANCELED

        here, _ = _fetch(target, run_id, bench)

        assert (here / "outputs/model").read_text() == "half\n"

    @pytest.mark.line
    def test_ten_thousand_outputs_come_back(self, target: ComputeTarget, bench: JobBench) -> None:
        run_id = bench.python(
            target, "for n in range(10000): open('outputs/%d' % n, 'w').write(str(n))"
        )
        wait_until_ended(target, run_id)

        here, left_behind = _fetch(target, run_id, bench)

        assert left_behind == ()
        assert sum(int(path.read_text()) for path in (here / "outputs").iterdir()) == 49_995_000

    def test_what_leads_outside_or_is_no_file_is_left_behind_and_named(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        script = (
            "ln -s /etc/passwd outputs/absolute; ln -s ../../log outputs/relative; "
            "ln -s .. outputs/up; ln -s outputs outputs/circle; mkfifo outputs/pipe; "
            "ln -s nowhere outputs/dangling; echo kept > outputs/kept"
        )
        run_id = bench.shell(target, script)
        wait_until_ended(target, run_id)

        here, left_behind = _fetch(target, run_id, bench)

        names = sorted(path.name for path in (here / "outputs").iterdir())
        assert sorted(left_behind) == [
            "outputs/absolute", "outputs/pipe", "outputs/relative", "outputs/up",
        ]  # fmt: skip
        assert names == ["circle", "dangling", "kept"]

    def test_an_outputs_folder_that_became_a_link_is_left_behind_and_named(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, "rmdir outputs; ln -s /etc outputs")
        wait_until_ended(target, run_id)

        here, left_behind = _fetch(target, run_id, bench)

        assert left_behind == ("outputs",)
        assert not (here / "outputs").exists()

    def test_a_script_may_delete_its_working_directory(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, 'echo tidy; rm -rf "$PWD" 2>/dev/null; exit 3')

        state = wait_until_ended(target, run_id)

        assert (state.status, state.exit_code, state.log) == (RunStatus.FAILED, 3, b"tidy\n")
        assert _fetch(target, run_id, bench)[1] == ()

    def test_the_end_of_a_script_that_deletes_all_it_can_reach_is_known(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        run_id = bench.shell(target, 'cd ..; rm -rf "$PWD"; exit 3')

        state = wait_until_ended(target, run_id)

        assert (state.status, state.exit_code) == (RunStatus.FAILED, 3)
        assert _fetch(target, run_id, bench)[1] == ()

    def test_a_running_script_that_deleted_its_run_folder_is_known_and_can_be_canceled(
        self, target: ComputeTarget, bench: JobBench
    ) -> None:
        script = 'cd ..; rm -rf "$PWD"; touch "$OUTSIDE/gone"; sleep 1000'
        run_id = bench.shell(target, script)
        wait_for((bench.outside / "gone").exists)
        assert wait_until(target, run_id, RunStatus.RUNNING).status is RunStatus.RUNNING

        target.cancel(run_id)

        assert wait_until_ended(target, run_id).status is RunStatus.CANCELED
