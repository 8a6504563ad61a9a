"""What every compute target promises about environments: built once, whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_mltrain.runs.status import RunStatus
from tests.contracts.target_bench import BenchContract
from tests.services.environments import environment_request
from tests.services.jobs import wait_for_log, wait_until, wait_until_ended
from tests.services.package_index import Package, package_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mltrain.targets.base import ComputeTarget
    from tests.services.jobs import JobBench
    from tests.services.package_index import PackageIndex

_IMPORT = "import alpha; print('alpha', alpha.__version__)"
_SECRET = "s3cret-of-the-index"  # noqa: S105 - made up


class EnvironmentContract(BenchContract):
    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[PackageIndex]:
        """Offers alpha 1.0, which needs beta."""
        with package_index(tmp_path / "index") as index:
            index.add("alpha", "1.0", requires=["beta"])
            index.add("beta", "1.0")
            yield index

    @pytest.mark.driver(elsewhere=True)
    @pytest.mark.line
    def test_a_script_runs_in_the_environment_it_asks_for(
        self, target: ComputeTarget, bench: JobBench, index: PackageIndex
    ) -> None:
        # given
        environment = environment_request(index, "alpha")

        # when
        ended = wait_until_ended(target, bench.python(target, _IMPORT, environment=environment))

        # then
        assert ended.status is RunStatus.COMPLETED, ended
        assert ended.log.endswith(b"alpha 1.0\n")
        assert ended.environment is not None
        versions = [line.split(" ")[0] for line in ended.environment["packages"]]
        assert versions == ["alpha==1.0", "beta==1.0"]

    @pytest.mark.line
    def test_preparing_an_environment_shows_in_status_and_log(
        self, target: ComputeTarget, bench: JobBench, index: PackageIndex
    ) -> None:
        # given
        index.hang()
        environment = environment_request(index, "alpha")

        # when
        run_id = bench.python(target, _IMPORT, environment=environment)
        state = wait_for_log(target, run_id, b"tested")

        # then
        assert state.status is RunStatus.PREPARING
        target.cancel(run_id)
        assert wait_until_ended(target, run_id).status is RunStatus.CANCELED

    def test_what_is_built_is_used_again(
        self, target: ComputeTarget, bench: JobBench, index: PackageIndex
    ) -> None:
        # given
        environment = environment_request(index, "alpha")
        first = wait_until_ended(target, bench.python(target, _IMPORT, environment=environment))
        index.stop()

        # when
        second = wait_until_ended(target, bench.python(target, _IMPORT, environment=environment))

        # then
        assert second.log == b"alpha 1.0\n"
        assert second.environment == first.environment

    def test_jobs_that_need_the_same_at_once_build_it_once(
        self, target: ComputeTarget, bench: JobBench, index: PackageIndex
    ) -> None:
        # given
        environment = environment_request(index, "alpha")
        jobs = [
            bench.job(
                target, "python", "train.py", files={"train.py": _IMPORT}, environment=environment
            )
            for _ in range(6)
        ]

        # when
        threads = [threading.Thread(target=target.start, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ended = [wait_until_ended(target, job.run_id) for job in jobs]

        # then
        assert {state.status for state in ended} == {RunStatus.COMPLETED}
        assert sum(b" was built in " in state.log for state in ended) == 1
        assert len(target.list_environments()) == 1

    def test_versions_that_the_history_knows_are_installed_again(
        self, target: ComputeTarget, bench: JobBench, index: PackageIndex
    ) -> None:
        # given
        environment = environment_request(index, "alpha")
        first = wait_until_ended(target, bench.python(target, _IMPORT, environment=environment))
        assert first.environment is not None
        target.collect_environments(0)
        index.add("alpha", "2.0")
        lock = {part: first.environment[part] for part in ("packages", "conda")}

        # when
        locked = environment_request(
            index, "alpha", "beta>0", locks={first.environment["platform"]: lock}
        )
        again = wait_until_ended(target, bench.python(target, _IMPORT, environment=locked))

        # then
        assert again.log.endswith(b"alpha 1.0\n")
        assert again.environment is not None
        assert again.environment["key"] == first.environment["key"]

    def test_programs_of_the_environment_come_first(
        self, target: ComputeTarget, bench: JobBench, index: PackageIndex
    ) -> None:
        # given
        index.offer(
            Package(
                "alpha",
                "1.5",
                module="def main():\n    print('alpha at your service')\n",
                console_scripts={"alpha-serve": "alpha:main"},
            )
        )
        environment = environment_request(index, "alpha==1.5")

        # when
        ended = wait_until_ended(
            target,
            bench.shell(target, "alpha-serve && command -v python", environment=environment),
        )

        # then
        assert ended.status is RunStatus.COMPLETED, ended
        assert b"alpha at your service\n" in ended.log
        assert b"/envs/" in ended.log.splitlines()[-1]

    def test_requirements_that_cannot_be_met_fail_with_the_resolvers_words(
        self, target: ComputeTarget, bench: JobBench, index: PackageIndex
    ) -> None:
        # given
        environment = environment_request(index, "alpha==1.0", "beta==7.0")

        # when
        ended = wait_until_ended(target, bench.python(target, _IMPORT, environment=environment))

        # then
        assert ended.status is RunStatus.FAILED
        assert ended.started_at is None
        assert ended.exit_code is None
        assert ended.reason is not None
        assert ended.reason.startswith("preparation failed: ")
        assert "beta==7.0" in ended.reason
        assert b"beta==7.0" in ended.log
        assert target.list_environments() == []

    def test_a_job_that_is_canceled_while_it_prepares_never_runs(
        self, target: ComputeTarget, bench: JobBench, index: PackageIndex
    ) -> None:
        # given
        index.hang()
        run_id = bench.python(
            target, "open('outputs/ran', 'w')", environment=environment_request(index, "alpha")
        )
        wait_for_log(target, run_id, b"tested")

        # when
        target.cancel(run_id)
        ended = wait_until_ended(target, run_id)

        # then
        assert ended.status is RunStatus.CANCELED
        assert ended.started_at is None
        assert target.collect_environments(0) == []

    def test_preparing_ends_with_its_timeout(
        self, target: ComputeTarget, bench: JobBench, index: PackageIndex
    ) -> None:
        # given
        index.hang()
        environment = environment_request(index, "alpha", prepare_timeout_seconds=0.5)

        # when
        ended = wait_until_ended(target, bench.python(target, _IMPORT, environment=environment))

        # then
        assert ended.status is RunStatus.FAILED
        assert "prepare_timeout_seconds = 0.5" in str(ended.reason)

    def test_a_failed_preparation_is_no_obstacle_to_the_next(
        self, target: ComputeTarget, bench: JobBench, index: PackageIndex
    ) -> None:
        # given
        environment = environment_request(index, "alpha", "gamma")
        failed = wait_until_ended(target, bench.python(target, _IMPORT, environment=environment))
        assert failed.status is RunStatus.FAILED
        index.add("gamma", "1.0")

        # when
        ended = wait_until_ended(target, bench.python(target, _IMPORT, environment=environment))

        # then
        assert ended.status is RunStatus.COMPLETED, ended

    @pytest.mark.driver
    @pytest.mark.line
    def test_credentials_open_the_index_and_are_seen_nowhere(
        self, target: ComputeTarget, bench: JobBench, tmp_path: Path
    ) -> None:
        # given
        seen: set[bytes] = set()
        is_over = threading.Event()

        def watch() -> None:
            while not is_over.is_set():
                for path in Path("/proc").glob("[0-9]*/cmdline"):
                    try:
                        seen.add(path.read_bytes())
                    except OSError:
                        continue

        watcher = threading.Thread(target=watch)
        watcher.start()

        # when
        try:
            with package_index(tmp_path / "closed", credentials=("trainer", _SECRET)) as index:
                index.add("alpha", "1.0")
                environment = environment_request(
                    index, "alpha", credentials={"127.0.0.1": ("trainer", _SECRET)}
                )
                ended = wait_until_ended(
                    target, bench.python(target, _IMPORT, environment=environment)
                )
        finally:
            is_over.set()
            watcher.join()

        # then
        assert ended.status is RunStatus.COMPLETED, ended
        assert _SECRET.encode() not in ended.log
        assert not [line for line in seen if _SECRET.encode() in line]

    def test_an_environment_in_use_is_never_removed(
        self, target: ComputeTarget, bench: JobBench, index: PackageIndex
    ) -> None:
        # given
        environment = environment_request(index, "alpha")
        script = "import time; print('ready', flush=True); time.sleep(1000)"
        run_id = bench.python(target, script, environment=environment)
        wait_for_log(target, run_id, b"ready")

        # when
        removed_in_use = target.collect_environments(0)
        is_in_use = [one.is_in_use for one in target.list_environments()]
        target.cancel(run_id)
        wait_until(target, run_id, RunStatus.CANCELED)
        rehearsed = target.collect_environments(0, is_dry_run=True)
        removed = target.collect_environments(0)

        # then
        assert removed_in_use == []
        assert is_in_use == [True]
        assert [one.key for one in rehearsed] == [one.key for one in removed]
        assert [one.name for one in removed] == ["tested"]
        assert target.list_environments() == []
