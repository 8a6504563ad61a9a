"""What a target is asked to do for a recorded run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from airflow_mltrain.config.environment import Environment
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.environments.plan import (
    EnvironmentPlan,
    collect_credentials,
    plan_environment,
)
from airflow_mltrain.previous_outputs import (
    previous_outputs_of,
)
from airflow_mltrain.runs.record import RunRecord
from airflow_mltrain.spark_request import request_spark
from airflow_mltrain.targets.base import (
    ComputeTarget,
    EnvironmentRequest,
    ImageRequest,
    Job,
    Resources,
)
from airflow_mltrain.workspace import Workspace


def request_job(
    workspace: Workspace,
    target: ComputeTarget,
    record: RunRecord,
    config: ScriptRunConfig,
    plan: EnvironmentPlan,
    asking: Iterable[Environment | str | None],
) -> Job:
    """The job of a run, without its secret variables.

    Raises ConfigurationError where a variable that its environment refers to is not set here.
    """
    return Job(
        run_id=record.run_id,
        snapshot_id=record.snapshot_id,
        environment=_environment_request(workspace, config, plan, asking),
        argv=tuple(config.argv(plan.interpreter)),
        environment_variables={
            **plan.environment_variables,
            **{
                name: value
                for name, value in config.run_config.environment_variables.items()
                if isinstance(value, str)
            },
        },
        max_run_duration_seconds=config.run_config.max_run_duration_seconds,
        lease_seconds=config.run_config.lease_seconds,
        cancel_grace_seconds=workspace.settings.cancel_grace_seconds,
        image=_image_request(workspace, plan),
        resources=Resources(
            config.run_config.resources.cpus,
            config.run_config.resources.memory_bytes,
            config.run_config.resources.gpus,
        ),
        labels=_labels(record),
        facts=_facts(workspace, record),
        spark=request_spark(config, os.environ) if target.runs_spark else None,
        blobs=plan.wheel_digests,
        previous_outputs=previous_outputs_of(record),
    )


def _image_request(workspace: Workspace, plan: EnvironmentPlan) -> ImageRequest | None:
    return None if plan.image is None else ImageRequest(plan.image, workspace.artifacts.blobs)


def _labels(record: RunRecord) -> dict[str, str]:
    found = {"experiment": record.experiment, "generation": str(record.generation)}
    if record.submission is not None:
        key = record.submission
        found |= {"dag_id": key.dag_id, "dag_run_id": key.dag_run_id, "task_id": key.task_id}
        if key.map_index >= 0:
            found["map_index"] = str(key.map_index)
    return found


def _facts(workspace: Workspace, record: RunRecord) -> dict[str, Any]:
    """What a script may ask of its run beside what it says itself."""
    return {
        "experiment": record.experiment,
        "number": workspace.history.number_of(record),
        "target": record.target,
        "tags": dict(record.tags),
        "properties": dict(record.properties),
        "definition": dict(record.config),
    }


def _environment_request(
    workspace: Workspace,
    config: ScriptRunConfig,
    plan: EnvironmentPlan,
    asking: Iterable[Environment | str | None],
) -> EnvironmentRequest | None:
    environment = config.run_config.environment
    if not isinstance(environment, Environment) or plan.recipe is None:
        return None
    return EnvironmentRequest(
        name=_shown(environment),
        recipe=plan.recipe,
        recipe_id=plan.recipe_id,
        locks=workspace.history.find_locks(plan.recipe_id),
        prepare_timeout_seconds=config.run_config.prepare_timeout_seconds,
        credentials=credentials_of([environment, *asking]),
    )


def _shown(environment: Environment) -> str:
    version = environment.version
    return environment.name if version is None else f"{environment.name}:{version}"


def plan_for(config: ScriptRunConfig, target: ComputeTarget, interpreter: str) -> EnvironmentPlan:
    """What the environment of a config comes to on a target; ConfigurationError if it is none."""
    environment = config.run_config.environment
    if isinstance(environment, str):
        raise TypeError(f"environment {environment!r} was not looked up")
    return plan_environment(
        environment,
        default_interpreter=interpreter,
        runs_images=target.runs_images,
        runs_spark=target.runs_spark,
    )


def credentials_of(environments: Iterable[Environment | str | None]) -> dict[str, tuple[str, str]]:
    """A login and a password for each host of a package index that these environments know."""
    found: dict[str, tuple[str, str]] = {}
    for environment in environments:
        if isinstance(environment, Environment):
            found.update(collect_credentials(environment, os.environ))
    return found
