"""A Spark cluster as a compute target: a machine whose scripts are drivers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

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
from airflow_mltrain.targets.spark.check import judge_gateway, judge_spark
from airflow_mltrain.targets.spark.command import Deployment, find_program, make_command
from airflow_mltrain.targets.spark.config import SparkTargetConfig
from airflow_mltrain.targets.spark_job import SparkDriver, SparkRequest

log = logging.getLogger(__name__)

_DEFAULT_PYTHON = "python3"  # which Spark itself takes where nothing is said
_GATEWAY_PORT = 6066
_REMOVAL_SECONDS = 40.0  # beside the grace period, to have a driver gone from its cluster


class DriverMachine(ComputeTarget, Protocol):
    """A machine that drivers can run on."""

    def examine_spark(self, **asked: Any) -> dict[str, Any]:
        """What drivers find there, as the job agent's `examine_spark` says."""


class SparkTarget:
    """Runs drivers as jobs of a machine, this one or an edge node, and leaves the rest to it.

    A job with a request for Spark is begun by spark-submit; any other is a job of the machine.
    """

    def __init__(
        self,
        machine: DriverMachine,
        conn_id: str,
        deployment: Deployment,
        config: SparkTargetConfig,
    ) -> None:
        self._machine = machine
        self._conn_id = conn_id
        self._deployment = deployment
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
        master = self._deployment.master
        facts = self._machine.examine_spark(
            program=find_program(self.name, self._conn_id),
            variables=self._variables(),
            master=master,
            pages=self._config.master_pages,
            gateway=self._gateway(),
            manager=self._deployment.manager,
        )
        judged = judge_spark if self._gateway() is None else judge_gateway
        return (*self._machine.check(), *judged(facts, master))

    def list_jobs(self) -> list[ListedJob]:
        return self._machine.list_jobs()

    def collect_blobs(self, least_age_seconds: float, *, is_dry_run: bool = False) -> Removed:
        return self._machine.collect_blobs(least_age_seconds, is_dry_run=is_dry_run)

    def list_environments(self) -> list[BuiltEnvironment]:
        return self._machine.list_environments()

    def collect_environments(
        self, max_bytes: int | None, *, is_dry_run: bool = False
    ) -> list[BuiltEnvironment]:
        return self._machine.collect_environments(max_bytes, is_dry_run=is_dry_run)

    def _driver_job(self, job: Job) -> Job:
        """The job as its machine is to run it."""
        variables = {**self._variables(), **job.environment_variables}
        if job.spark is None:
            return replace(job, environment_variables=variables)
        driver = self._driver(job, job.spark)
        grace = job.cancel_grace_seconds
        if self._deployment.manager is not None:
            grace += _REMOVAL_SECONDS
        return replace(
            job,
            environment_variables=variables,
            spark_driver=driver,
            cancel_grace_seconds=grace,
        )

    def _gateway(self) -> list[tuple[str, int]] | None:
        """Where a master takes drivers, as host and port of each; None where none is to."""
        if self._deployment.manager is None or not self._deployment.is_standalone:
            return None
        told = self._config.master_gateway
        if told is not None:
            found = urlsplit(told)
            return [(str(found.hostname), found.port or _GATEWAY_PORT)]
        return [(one.rpartition(":")[0], _GATEWAY_PORT) for one in self._deployment.masters]

    def _variables(self) -> dict[str, str]:
        found = dict(self._config.environment_variables or {})
        if self._config.spark_home is not None:
            found["SPARK_HOME"] = self._config.spark_home
        return found

    def _driver(self, job: Job, request: SparkRequest) -> SparkDriver:
        """What a job agent is told, as `job_agent.spark.launcher` reads it."""
        if request.driver_cores is not None and self._deployment.manager is None:
            log.warning(
                "run_config.spark.driver_cores: the driver runs on a machine of its own, which "
                "bounds no cores; leave it out"
            )
        command = make_command(self.name, self._conn_id, job.run_id, request)
        config = self._config
        low, _, high = (config.callback_ports or "").partition("-")
        spec = {
            "run_id": job.run_id,
            "manager": self._deployment.manager,
            "gateway": self._gateway(),
            "callback_host": config.callback_host,
            "callback_ports": [int(low), int(high or low)] if low else None,
            "driver_alone_seconds": config.driver_alone_seconds,
            "driver_grace_seconds": job.cancel_grace_seconds,
            "driver_memory": request.driver_memory,
            "driver_cores": request.driver_cores,
            "worker_python": self.interpreter,
            "command": list(command.words),
            "expects_session": request.expects_session,
            "default_python": _DEFAULT_PYTHON,
            "master": command.master,
            "master_pages": config.master_pages,
            "history_pages": config.history_pages,
            "executor_timeout_seconds": config.executor_timeout_seconds,
        }
        secrets = {
            "properties": dict(request.properties),
            "secret_names": sorted(request.secret_names),
            "keytab": command.keytab,
        }
        return SparkDriver(spec, secrets)
