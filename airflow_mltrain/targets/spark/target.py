"""A Spark cluster as a compute target: a machine whose scripts are drivers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from airflow_mltrain.targets.base import (
    BuiltEnvironment,
    ComputeTarget,
    Job,
    JobState,
    Preparation,
    Seen,
    SparkDriver,
    SparkRequest,
)
from airflow_mltrain.targets.check import Finding
from airflow_mltrain.targets.spark.check import judge_spark
from airflow_mltrain.targets.spark.command import find_program, make_command
from airflow_mltrain.targets.spark.config import SparkTargetConfig

_DEFAULT_PYTHON = "python3"  # which Spark itself takes where nothing is said


class DriverMachine(ComputeTarget, Protocol):
    """A machine that drivers can run on."""

    def examine_spark(self, **asked: Any) -> dict[str, Any]:
        """What drivers find there, as the job agent's `examine_spark` says."""


class SparkTarget:
    """Runs drivers as jobs of a machine, this one or an edge node, and leaves the rest to it.

    A job with a request for Spark is begun by spark-submit; any other is a job of the machine.
    """

    def __init__(
        self, machine: DriverMachine, conn_id: str, master: str, config: SparkTargetConfig
    ) -> None:
        self._machine = machine
        self._conn_id = conn_id
        self._master = master
        self._config = config

    @property
    def name(self) -> str:
        return self._machine.name

    @property
    def place(self) -> str:
        return self._machine.place

    @property
    def interpreter(self) -> str:
        return self._config.python or _DEFAULT_PYTHON

    @property
    def runs_images(self) -> bool:
        return False

    @property
    def runs_spark(self) -> bool:
        return True

    def prepare(self, job: Job, preparation: Preparation) -> Mapping[str, str]:
        return self._machine.prepare(job, preparation)

    def missing(self, digests: Iterable[str]) -> set[str]:
        return self._machine.missing(digests)

    def missing_of_snapshot(self, snapshot_id: str) -> set[str] | None:
        return self._machine.missing_of_snapshot(snapshot_id)

    def upload(self, blobs: Mapping[str, Path]) -> None:
        self._machine.upload(blobs)

    def start(self, job: Job) -> bool:
        return self._machine.start(self._driver_job(job))

    def observe(self, seen: Mapping[str, Seen], wait_seconds: float) -> dict[str, JobState]:
        return self._machine.observe(seen, wait_seconds)

    def cancel(self, run_id: str) -> None:
        self._machine.cancel(run_id)

    def fetch(self, run_id: str, destination: Path) -> tuple[str, ...]:
        return self._machine.fetch(run_id, destination)

    def discard(self, run_id: str) -> None:
        self._machine.discard(run_id)

    def check(self) -> tuple[Finding, ...]:
        facts = self._machine.examine_spark(
            program=find_program(self.name, self._conn_id),
            variables=self._variables(),
            master=self._master,
            pages=self._config.master_pages,
        )
        return (*self._machine.check(), *judge_spark(facts, self._master))

    def list_environments(self) -> list[BuiltEnvironment]:
        return self._machine.list_environments()

    def collect_environments(
        self, max_bytes: int | None, *, is_dry_run: bool = False
    ) -> list[BuiltEnvironment]:
        return self._machine.collect_environments(max_bytes, is_dry_run=is_dry_run)

    def _driver_job(self, job: Job) -> Job:
        """The job as its machine is to run it."""
        variables = {**self._variables(), **job.environment_variables}
        driver = None if job.spark is None else self._driver(job.run_id, job.spark)
        return replace(job, environment_variables=variables, spark_driver=driver)

    def _variables(self) -> dict[str, str]:
        found = dict(self._config.environment_variables or {})
        if self._config.spark_home is not None:
            found["SPARK_HOME"] = self._config.spark_home
        return found

    def _driver(self, run_id: str, request: SparkRequest) -> SparkDriver:
        """What a job agent is told, as `job_agent.spark.launcher` reads it."""
        command = make_command(self.name, self._conn_id, run_id, request)
        config = self._config
        spec = {
            "command": list(command.words),
            "expects_session": request.expects_session,
            "default_python": _DEFAULT_PYTHON,
            "master": command.master,
            "master_pages": config.master_pages,
            "history_pages": config.history_pages,
            "executor_timeout_seconds": config.executor_timeout_seconds,
        }
        secrets = {"properties": dict(request.properties), "keytab": command.keytab}
        return SparkDriver(spec, secrets)
