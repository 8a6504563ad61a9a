"""A compute target that fails now and then, as a network does; otherwise the one it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from airflow_mltrain.targets.base import BuiltEnvironment, ComputeTarget, Job, JobState, Seen


class FlakyTarget:
    """Raises what `faults` holds, one for each call of `observe` or `cancel`, before it works."""

    def __init__(self, target: ComputeTarget, faults: Iterable[Exception]) -> None:
        self.name = target.name
        self._target = target
        self._faults = list(faults)
        self.exchanges: list[set[str]] = []

    @property
    def place(self) -> str:
        return self._target.place

    def missing(self, digests: Iterable[str]) -> set[str]:
        return self._target.missing(digests)

    def upload(self, blobs: Mapping[str, Path]) -> None:
        self._target.upload(blobs)

    def start(self, job: Job) -> None:
        self._target.start(job)

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
        if self._faults:
            raise self._faults.pop(0)

    def list_environments(self) -> list[BuiltEnvironment]:
        return self._target.list_environments()

    def collect_environments(
        self, max_bytes: int | None, *, is_dry_run: bool = False
    ) -> list[BuiltEnvironment]:
        return self._target.collect_environments(max_bytes, is_dry_run=is_dry_run)
