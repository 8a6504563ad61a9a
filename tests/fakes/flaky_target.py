"""A compute target that fails now and then, as a network does; otherwise the one it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from airflow_mltrain.targets.base import (
    BuiltEnvironment,
    ComputeTarget,
    Job,
    JobState,
    ListedJob,
    Preparation,
    Removed,
    Seen,
)
from airflow_mltrain.targets.check import Finding


class FlakyTarget:
    """Raises what `faults` holds, one for each call of `observe` or `cancel`, before it works.

    Every call counts as an attempt; `exchanges` has the run ids of those that worked.
    """

    def __init__(self, target: ComputeTarget, faults: Iterable[Exception]) -> None:
        self.name = target.name
        self._target = target
        self._faults = iter(faults)
        self.attempts = 0
        self.exchanges: list[set[str]] = []

    @property
    def place(self) -> str:
        return self._target.place

    @property
    def interpreter(self) -> str:
        return self._target.interpreter

    @property
    def runs_images(self) -> bool:
        return self._target.runs_images

    @property
    def runs_spark(self) -> bool:
        return self._target.runs_spark

    def prepare(self, job: Job, preparation: Preparation) -> Mapping[str, str]:
        return self._target.prepare(job, preparation)

    def missing(self, digests: Iterable[str]) -> set[str]:
        return self._target.missing(digests)

    def missing_of_snapshot(self, snapshot_id: str) -> set[str] | None:
        return self._target.missing_of_snapshot(snapshot_id)

    def upload(self, blobs: Mapping[str, Path]) -> None:
        self._target.upload(blobs)

    def start(self, job: Job) -> bool:
        return self._target.start(job)

    def observe(self, seen: Mapping[str, Seen], wait_seconds: float) -> dict[str, JobState]:
        self._fail()
        self.exchanges.append(set(seen))
        return self._target.observe(seen, wait_seconds)

    def cancel(self, run_id: str) -> None:
        self._fail()
        self._target.cancel(run_id)

    def fetch(self, run_id: str, destination: Path) -> tuple[str, ...]:
        return self._target.fetch(run_id, destination)

    def discard(self, run_id: str) -> None:
        self._target.discard(run_id)

    def _fail(self) -> None:
        self.attempts += 1
        for fault in self._faults:
            raise fault

    def check(self) -> tuple[Finding, ...]:
        return self._target.check()

    def list_jobs(self) -> list[ListedJob]:
        return self._target.list_jobs()

    def collect_blobs(self, least_age_seconds: float, *, is_dry_run: bool = False) -> Removed:
        return self._target.collect_blobs(least_age_seconds, is_dry_run=is_dry_run)

    def list_environments(self) -> list[BuiltEnvironment]:
        return self._target.list_environments()

    def collect_environments(
        self, max_bytes: int | None, *, is_dry_run: bool = False
    ) -> list[BuiltEnvironment]:
        return self._target.collect_environments(max_bytes, is_dry_run=is_dry_run)
