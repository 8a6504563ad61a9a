"""This machine as a compute target."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from airflow_mltrain.errors import JobStartError, TargetError, TargetUnreachableError
from airflow_mltrain.runtime.job_agent import blobs as own_blobs
from airflow_mltrain.runtime.job_agent import verbs
from airflow_mltrain.runtime.job_agent.examination import examine
from airflow_mltrain.runtime.job_agent.folder import JobFolder
from airflow_mltrain.targets.base import (
    BuiltEnvironment,
    Job,
    JobState,
    ListedJob,
    Preparation,
    Removed,
    Seen,
)
from airflow_mltrain.targets.bundled_uv import find_bundled_uv
from airflow_mltrain.targets.check import Finding, judge
from airflow_mltrain.targets.machine import (
    as_they_are,
    built_environment,
    job_state,
    known_of,
    listed_job,
    removed,
    secrets_of,
    spec_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_TRAINING_MODULES = Path(verbs.__file__).parents[1] / "training"
_NOT_FOR_SCRIPTS = ("AIRFLOW_", "MLTRAIN_")


class LocalTarget:
    """Runs jobs as processes of this machine, supervised, below one root folder.

    Its state is in that folder alone, so that any process of this user on this machine may follow
    a job which another one started.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        *,
        max_concurrent_runs: int | None = None,
        environments_max_bytes: int | None = None,
        gpus: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self._root = root.absolute()
        self._max_concurrent_runs = max_concurrent_runs
        self._environments_max_bytes = environments_max_bytes
        self._gpus = as_they_are(gpus)

    @property
    def place(self) -> str:
        with self._reached():
            return verbs.place(str(self._root))

    @property
    def interpreter(self) -> str:
        return sys.executable

    @property
    def runs_images(self) -> bool:
        return False

    @property
    def runs_spark(self) -> bool:
        return False

    def prepare(self, job: Job, preparation: Preparation) -> Mapping[str, str]:  # noqa: ARG002
        return {}  # a machine prepares within the job

    def missing(self, digests: Iterable[str]) -> set[str]:
        with self._reached():
            return set(own_blobs.missing(str(self._root), list(digests)))

    def missing_of_snapshot(self, snapshot_id: str) -> set[str] | None:
        with self._reached():
            missing = own_blobs.missing_of_snapshot(str(self._root), snapshot_id)
        return None if missing is None else set(missing)

    def upload(self, blobs: Mapping[str, Path]) -> None:
        with self._reached():
            for digest, source in blobs.items():
                destination = self._blob(digest)
                if not destination.exists():
                    destination.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    _link_or_copy(source, destination)

    def start(self, job: Job) -> bool:
        spec = spec_of(
            job,
            max_concurrent_runs=self._max_concurrent_runs,
            environments_max_bytes=self._environments_max_bytes,
            gpus=self._gpus,
        )
        spec["training_modules"] = str(_TRAINING_MODULES)
        if spec["environment"] is not None:
            uv = find_bundled_uv()
            spec["environment"]["uv"] = None if uv is None else str(uv.path)
        variables = {
            name: value
            for name, value in os.environ.items()
            if not name.lstrip("_").startswith(_NOT_FOR_SCRIPTS)  # they hold Airflow's secrets
        }
        secrets = secrets_of(job)
        try:
            with self._reached():
                return verbs.start(str(self._root), spec, variables, secrets=secrets)
        except verbs.StartError as error:
            raise JobStartError(
                f"compute target {self.name!r} could not start run {job.run_id}: {error}"
            ) from error

    def observe(self, seen: Mapping[str, Seen], wait_seconds: float) -> dict[str, JobState]:
        known = {run_id: known_of(one) for run_id, one in seen.items()}
        with self._reached():
            answer = verbs.observe(str(self._root), known, wait_seconds)
        return {run_id: job_state(state) for run_id, state in answer.items()}

    def cancel(self, run_id: str) -> None:
        with self._reached():
            verbs.cancel(str(self._root), run_id)

    def fetch(self, run_id: str, destination: Path) -> tuple[str, ...]:
        folder = JobFolder(str(self._root), run_id)
        left_behind: list[str] = []
        for source in map(Path, (folder.log, folder.outputs, folder.watched_logs)):
            if source.exists() or source.is_symlink():
                _copy_tree(source, destination / source.name, left_behind)
        return tuple(left_behind)

    def discard(self, run_id: str) -> None:
        try:
            with self._reached():
                verbs.discard(str(self._root), run_id)
        except verbs.NotEndedError as error:
            raise TargetError(f"compute target {self.name!r}: {error}") from error

    def _blob(self, digest: str) -> Path:
        return self._root / "blobs" / digest[:2] / digest

    def check(self) -> tuple[Finding, ...]:
        uv = find_bundled_uv()
        facts = examine(str(self._root), None if uv is None else str(uv.path))
        # Whoever asks may have come over SSH, its jobs do not.
        return judge({**facts, "sshd": None}, clock_skew_seconds=None)

    def examine_spark(self, **asked: Any) -> dict[str, Any]:
        """What drivers find on this machine, as the job agent's `examine_spark` says."""
        from airflow_mltrain.runtime.job_agent.spark.examination import (  # noqa: PLC0415 - dear
            examine_spark,
        )

        return examine_spark(**asked)

    def list_jobs(self) -> list[ListedJob]:
        with self._reached():
            return [listed_job(one) for one in verbs.list_jobs(str(self._root))]

    def collect_blobs(self, least_age_seconds: float, *, is_dry_run: bool = False) -> Removed:
        with self._reached():
            found = verbs.collect_blobs(str(self._root), least_age_seconds, is_dry_run=is_dry_run)
        return removed(found)

    def list_environments(self) -> list[BuiltEnvironment]:
        with self._reached():
            return [built_environment(one) for one in verbs.list_environments(str(self._root))]

    def collect_environments(
        self, max_bytes: int | None, *, is_dry_run: bool = False
    ) -> list[BuiltEnvironment]:
        with self._reached():
            found = verbs.collect_environments(str(self._root), max_bytes, is_dry_run=is_dry_run)
        return [
            built_environment(one) for one in found if one["key"]
        ]  # the rest is what dead builds left

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TargetUnreachableError(
                f"compute target {self.name!r} cannot use its root folder {self._root}: {error}; "
                "its runs are as they were, repeat when that is mended"
            ) from error


def _link_or_copy(source: Path, destination: Path) -> None:
    try:
        destination.hardlink_to(source)  # blobs never change: one file can serve both stores
    except FileExistsError:
        return
    except OSError:
        draft = destination.with_name(f"{destination.name}.{token_hex(8)}")
        try:
            shutil.copyfile(source, draft)
            draft.replace(destination)
        finally:
            draft.unlink(missing_ok=True)


def _copy_tree(source: Path, copy: Path, left_behind: list[str]) -> None:
    """Copy files, folders and the links among them; a script cannot make this read elsewhere."""
    root = source.resolve()

    def take(path: Path, copy: Path) -> None:
        try:
            is_copied = _copy_one(path, copy, root)
        except PermissionError:
            is_copied = False
        if not is_copied:
            left_behind.append(str(path.relative_to(source.parent)))

    def note(error: OSError) -> None:
        left_behind.append(str(Path(error.filename).relative_to(source.parent)))

    take(source, copy)
    if source.is_symlink() or not source.is_dir():
        return
    for name, folders, files in os.walk(source, onerror=note):
        folder = Path(name)
        here = copy / folder.relative_to(source)
        for entry in [*folders, *files]:
            take(folder / entry, here / entry)


def _copy_one(path: Path, copy: Path, root: Path) -> bool:
    if path.is_symlink():
        target = os.path.realpath(path)  # Path.resolve raises where links go in circles
        if not target.startswith(f"{root}{os.sep}"):
            return False
        copy.symlink_to(os.path.relpath(target, path.parent.resolve()))
    elif path.is_dir():
        copy.mkdir()
    elif path.is_file():
        _copy_file(path, copy)
    else:
        return False
    return True


def _copy_file(path: Path, copy: Path) -> None:
    if path.stat().st_nlink == 1:  # nobody else has it and its job is over: one file can be both
        with suppress(OSError):
            copy.hardlink_to(path)
            return
    shutil.copy(path, copy)
