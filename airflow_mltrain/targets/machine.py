"""What crosses between this package and a job agent, wherever the agent runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_mltrain.errors import JobStartError
from airflow_mltrain.runs.status import RunStatus
from airflow_mltrain.targets.base import (
    BuiltEnvironment,
    Job,
    JobState,
    ListedJob,
    Removed,
    Seen,
)

_NOTICED_SKEW_SECONDS = 1.0


def spec_of(
    job: Job,
    *,
    max_concurrent_runs: int | None,
    environments_max_bytes: int | None,
    gpus: Mapping[str, str] | None,
) -> dict[str, Any]:
    """A job as `job.json` has it, without what its machine adds and without secrets.

    `gpus` are the cards that were declared, each with the name that a script knows it by; None
    where the machine is to be looked at. Raises JobStartError where it asks for more.
    """
    environment = None
    if job.environment is not None:
        request = job.environment
        environment = {one.name: getattr(request, one.name) for one in fields(request)}
        del environment["credentials"]  # job.json is kept
        environment["max_cache_bytes"] = environments_max_bytes
    return {
        "run_id": job.run_id,
        "snapshot_id": job.snapshot_id,
        "blobs": sorted(job.blobs),
        "argv": list(job.argv),
        "environment_variables": dict(job.environment_variables),
        "max_run_duration_seconds": job.max_run_duration_seconds,
        "lease_seconds": job.lease_seconds,
        "cancel_grace_seconds": job.cancel_grace_seconds,
        "max_concurrent_runs": max_concurrent_runs,
        "gpus": _cards(job, gpus),
        "environment": environment,
        "facts": dict(job.facts),
        "previous_outputs": job.previous_outputs and job.previous_outputs._asdict(),
        "spark": None if job.spark_driver is None else dict(job.spark_driver.spec),
        "has_secrets": secrets_of(job) is not None,
    }


def secrets_of(job: Job) -> dict[str, Any] | None:
    """What goes with a job's spec and is kept nowhere, as `job_agent/secret.py` has it."""
    found: dict[str, Any] = {}
    if job.environment is not None and job.environment.credentials:
        found["indexes"] = dict(job.environment.credentials)
    if job.spark_driver is not None:
        found["spark"] = dict(job.spark_driver.secrets)
    if job.secret_variables:
        found["variables"] = dict(job.secret_variables)
    return found or None


def as_they_are(gpus: Sequence[str] | None) -> dict[str, str] | None:
    """Declared cards of a machine whose scripts know them under the same names."""
    return None if gpus is None else {name: name for name in gpus}


def _cards(job: Job, gpus: Mapping[str, str] | None) -> dict[str, Any] | None:
    count = job.resources.gpus
    if not count:
        return None
    if gpus is not None and len(gpus) < count:
        raise JobStartError(
            f"run {job.run_id} asks for {count} GPUs, and its target declares "
            f"{len(gpus) or 'none'}: ask for fewer in run_config.resources, or name more as "
            "`gpus` in the compute target's settings"
        )
    return {"count": count, "devices": None if gpus is None else [*map(list, gpus.items())]}


def known_of(seen: Seen) -> dict[str, Any]:
    """What an observer knows of a job, as the agent reads it."""
    return {**seen._asdict(), "status": str(seen.status)}


def job_state(state: Mapping[str, Any]) -> JobState:
    """A job's state as the agent tells it; its log and metrics are bytes by now."""
    return JobState(
        status=RunStatus(state["status"]),
        log=state["log"],
        metrics=state["metrics"],
        exit_code=state.get("exit_code"),
        reason=state.get("reason"),
        limit=state.get("limit"),
        started_at=_instant(state.get("started_at")),
        ended_at=_instant(state.get("ended_at")),
        log_bytes=state.get("log_bytes"),
        metrics_bytes=state.get("metrics_bytes"),
        environment=state.get("environment"),
    )


def by_this_clock(state: JobState, clock_skew_seconds: float) -> JobState:
    """The same state, its instants as this machine's clock would have shown them."""
    if abs(clock_skew_seconds) < _NOTICED_SKEW_SECONDS:
        return state
    skew = timedelta(seconds=clock_skew_seconds)
    return state._replace(
        started_at=state.started_at and state.started_at - skew,
        ended_at=state.ended_at and state.ended_at - skew,
    )


def listed_job(found: Mapping[str, Any], clock_skew_seconds: float = 0.0) -> ListedJob:
    """A job as the agent lists it, by the clock of this machine."""
    changed_at = datetime.fromtimestamp(found["changed_at"] - clock_skew_seconds, timezone.utc)
    return ListedJob(found["run_id"], RunStatus(found["status"]), changed_at)


def removed(found: Mapping[str, int]) -> Removed:
    """How much the agent removed."""
    return Removed(found["count"], found["bytes"])


def built_environment(found: Mapping[str, Any]) -> BuiltEnvironment:
    """An environment as the agent lists it."""
    return BuiltEnvironment(
        key=found["key"],
        name=found["name"],
        python=found["python"],
        package_count=found["packages"],
        size_bytes=found["bytes"],
        last_used_at=datetime.fromtimestamp(found["last_used_at"], timezone.utc),
        is_in_use=found["is_in_use"],
    )


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
