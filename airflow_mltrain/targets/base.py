"""What every compute target can do, and the values that cross that line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_mltrain.environments.plan import ImagePlan
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.snapshots.blobs import Blobs

if TYPE_CHECKING:
    from airflow_mltrain.targets.finding import Finding
    from airflow_mltrain.targets.spark_job import SparkDriver, SparkRequest


@dataclass(frozen=True)
class Job:
    """A run as its compute target is asked to execute it."""

    run_id: str
    snapshot_id: str
    argv: tuple[str, ...]
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    secret_variables: Mapping[str, str] = field(default_factory=dict, repr=False)  # on no disk
    max_run_duration_seconds: float | None = None
    lease_seconds: float | None = None  # it stops itself when nobody observes it for so long
    cancel_grace_seconds: float = 30.0
    environment: EnvironmentRequest | None = None  # None: nothing has to be built
    image: ImageRequest | None = None  # None: what the target runs scripts in anyway
    resources: Resources = field(default_factory=lambda: Resources())  # noqa: PLW0108 - it is below
    labels: Mapping[str, str] = field(default_factory=dict)  # whose job it is, for people
    facts: Mapping[str, Any] = field(default_factory=dict)  # that its script may ask for
    first_log: bytes = b""  # what its log begins with
    spark: SparkRequest | None = None  # its words are a script and are for Spark; None: a program
    spark_driver: SparkDriver | None = None
    blobs: frozenset[str] = frozenset()  # that it needs beside those of its snapshot
    previous_outputs: PreviousOutputs | None = None  # that its script may go on from


class PreviousOutputs(NamedTuple):
    """What an earlier run left; its target may have it still, or gets it as a snapshot."""

    run_id: str
    snapshot_id: str | None = None


class Resources(NamedTuple):
    """How much of its target a job may use; None for as much as it likes."""

    cpus: float | None = None
    memory_bytes: int | None = None
    gpus: int = 0


class ImageRequest(NamedTuple):
    """The image that a job runs in, and how its container is to be; for targets with images."""

    plan: ImagePlan
    blobs: Blobs  # has the build context


@dataclass(frozen=True)
class EnvironmentRequest:
    """The environment a job needs, to be built on its target unless it is there."""

    name: str
    recipe: Mapping[str, Any]
    recipe_id: str
    locks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by platform
    prepare_timeout_seconds: float | None = None
    credentials: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)  # by host


class Seen(NamedTuple):
    """What an observer knows already: the status, and how many bytes of log and metrics."""

    status: RunStatus = RunStatus.NOT_STARTED
    log: int = 0
    metrics: int = 0
    environment_key: str | None = None


class JobState(NamedTuple):
    """A job as its target saw it, with the bytes of log and metrics past what was seen."""

    status: RunStatus
    log: bytes = b""
    metrics: bytes = b""
    exit_code: int | None = None
    reason: str | None = None  # why it failed
    limit: str | None = None  # the one of its job that it outlasted
    started_at: datetime | None = None
    ended_at: datetime | None = None
    log_bytes: int | None = None  # final sizes; None while the job lives
    metrics_bytes: int | None = None
    environment: Mapping[str, Any] | None = None  # what it runs in, for who has not seen its key


class BuiltEnvironment(NamedTuple):
    """An environment that lies on a target, ready for every run that needs the same."""

    key: str
    name: str  # of the environment it was first built for
    python: str
    package_count: int
    size_bytes: int
    last_used_at: datetime
    is_in_use: bool


class ListedJob(NamedTuple):
    """A job that lies on a target, as an inventory has it."""

    run_id: str
    status: RunStatus  # NotStarted: left there, and not claimed
    changed_at: datetime


class Removed(NamedTuple):
    """How much was removed."""

    number: int
    size_bytes: int


class Preparation(Protocol):
    """Who waits for a job's preparation, as far as it happens before the job begins."""

    def say(self, words: bytes) -> None:
        """Take what is to be shown of it."""

    def is_given_up(self) -> bool:
        """Whether nobody wants the job any more."""


class PreparationGivenUpError(Exception):
    """A preparation ended because nobody wants the job any more."""


class ComputeTarget(Protocol):
    """A place that executes jobs.

    Every verb is short and may be repeated; none waits for a job to end. A job is addressed by its
    run id alone, which the caller chooses. All raise TargetUnreachableError where the target does
    not answer; that says nothing about its jobs.
    """

    @property
    def name(self) -> str:
        """The name users give it: an Airflow connection id, or `local`."""

    @property
    def place(self) -> str:
        """Tells apart the places that one name may mean; only its own place knows a job."""

    @property
    def interpreter(self) -> str:
        """The Python of a script whose environment names none."""

    @property
    def runs_images(self) -> bool:
        """Whether scripts run in images; if not, an environment cannot ask for one."""

    @property
    def runs_spark(self) -> bool:
        """Whether scripts are drivers of Spark applications."""

    def prepare(self, job: Job, preparation: Preparation) -> Mapping[str, str]:
        """Have ready what a job needs before it can start, such as its image.

        May take long, unlike the other verbs, and may be repeated or be killed. Returns what is to
        be known of the run. Raises JobStartError where it failed, PreparationGivenUpError.
        """

    def missing(self, digests: Iterable[str]) -> set[str]:
        """Which of these blobs the target lacks."""

    def missing_of_snapshot(self, snapshot_id: str) -> set[str] | None:
        """Which blobs of a snapshot it lacks; None where it does not know the snapshot.

        The question is short however many files there are, and so is the answer.
        """

    def upload(self, blobs: Mapping[str, Path]) -> None:
        """Store blobs, files by their SHA-256; a blob that is there stays as it is."""

    def start(self, job: Job) -> bool:
        """Start the job in the background; nothing if that run id was started before.

        When this returns True, the target has the job, and will say how it went, whoever asks. It
        returns False, and has started nothing, where blobs have to be uploaded before. Raises
        JobStartError where nothing could be started.
        """

    def observe(self, seen: Mapping[str, Seen], wait_seconds: float) -> dict[str, JobState]:
        """The states of many jobs in one exchange, with what is new in their logs and metrics.

        Returns as soon as one of them has news, at the latest after `wait_seconds`. An ended job
        always has news. A run id that was never started is missing from the answer. At most a few
        mebibytes come at once; the log is complete when `log_bytes` of it were seen.
        """

    def cancel(self, run_id: str) -> None:
        """Have the job and every process it started stopped; returns before they are gone.

        They get SIGTERM, and SIGKILL after the job's grace period; the job is Canceled when all
        are gone. One that was never started will not run. One that has ended stays as it is.
        """

    def fetch(self, run_id: str, destination: Path) -> tuple[str, ...]:
        """Copy an ended job's `log`, `outputs/` and `logs/` into an existing, empty folder.

        Returns the paths left behind: links that lead out of the folder, devices and the like.
        Raises OSError where the destination cannot be written.
        """

    def discard(self, run_id: str) -> None:
        """Remove every trace of an ended job; nothing if there is none."""

    def check(self) -> tuple[Finding, ...]:
        """Look at what jobs need of the target; each finding says what to do about it."""

    def list_jobs(self) -> list[ListedJob]:
        """Every job that lies on the target, whoever submitted it."""

    def collect_blobs(self, least_age_seconds: float, *, is_dry_run: bool = False) -> Removed:
        """Remove the blobs that no unfinished job needs, unless they were brought lately.

        A run that needs them again has them sent again.
        """

    def list_environments(self) -> list[BuiltEnvironment]:
        """The environments that are ready on the target, last used first."""

    def collect_environments(
        self, max_bytes: int | None, *, is_dry_run: bool = False
    ) -> list[BuiltEnvironment]:
        """Remove the least recently used environments until the rest fits; returns those.

        Never one that a run is using. `None` is no limit: only what a killed build left behind is
        removed. With `is_dry_run` nothing is.
        """
