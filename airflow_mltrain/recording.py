"""How a run is recorded, before its target hears of it."""

from __future__ import annotations

import logging
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from airflow_mltrain.config.docker_configuration import apply_docker
from airflow_mltrain.config.script_run import ScriptRunConfig
from airflow_mltrain.errors import ConfigurationError
from airflow_mltrain.job_request import credentials_of, plan_for
from airflow_mltrain.previous_outputs import (
    PREVIOUS_OUTPUTS_PROPERTY,
    find_source,
)
from airflow_mltrain.progress import PLACE_PROPERTY
from airflow_mltrain.runs.record import RunRecord, SubmissionKey
from airflow_mltrain.snapshots.git import start_git_annotation
from airflow_mltrain.spark_request import check_spark
from airflow_mltrain.targets.base import ComputeTarget
from airflow_mltrain.workspace import Workspace

log = logging.getLogger(__name__)

_EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class Occasion(NamedTuple):
    """Who asks for a run, so that a retry adopts it and a deliberate repetition does not.

    `token` is the same for every retry of the submission, and another when a person asks again.
    """

    key: SubmissionKey
    token: str


def record_run(
    workspace: Workspace,
    target: ComputeTarget,
    experiment: str,
    config: ScriptRunConfig,
    occasion: Occasion | None,
    prior: RunRecord | None,
) -> RunRecord:
    """Record a run that is about to start, with its code in the artifact store.

    Raises ConfigurationError or SnapshotError, and nothing is recorded, where it cannot be run.
    """
    if not _EXPERIMENT_NAME.fullmatch(experiment):
        raise ConfigurationError(
            f"experiment {experiment!r}: a name has 1 to 128 letters, digits, '-' and '_', and "
            "starts with a letter or a digit"
        )
    environment = config.run_config.environment
    if isinstance(environment, str):
        environment = workspace.get_environment(environment)
    environment = apply_docker(
        config.run_config.docker, environment, runs_images=target.runs_images
    )
    # To assign it would have pydantic build the validator of what holds it, which is dear.
    run_config = config.run_config.model_copy(update={"environment": environment})
    config = config.model_copy(update={"run_config": run_config}).model_copy(deep=True)
    _check_environment(workspace, config, target)
    config.check()
    resources = config.run_config.resources
    if not target.runs_images and (resources.cpus or resources.memory):
        log.warning(
            "run_config.resources: compute target %r bounds neither cpus nor memory; a Docker "
            "engine does",
            target.name,
        )
    check_spark(config, target)
    source = Path(config.source_directory).absolute()
    annotation = start_git_annotation(source)
    snapshot = workspace.artifacts.take_snapshot(
        source, max_bytes=workspace.settings.snapshot_max_megabytes * 1_000_000
    )
    properties = {PLACE_PROPERTY: target.place}
    if (earlier := find_source(workspace, prior)) is not None:
        properties[PREVIOUS_OUTPUTS_PROPERTY] = earlier
    if annotation is not None:
        git = annotation.collect()
        properties.update(git.properties)
        if git.diff:
            properties["mltrain.git_diff"] = workspace.artifacts.blobs.put_bytes(git.diff)
    workspace.artifacts.require_used()
    now = datetime.now(timezone.utc)
    return workspace.history.add(
        RunRecord(
            run_id=f"{experiment}_{int(now.timestamp())}_{uuid4().hex[:8]}",
            experiment=experiment,
            target=config.run_config.target,
            snapshot_id=snapshot.snapshot_id,
            config=config.model_dump(mode="json"),
            created_at=now,
            submission=occasion.key if occasion else None,
            generation=prior.generation + 1 if prior else 1,
            occasion=occasion.token if occasion else None,
            tags=config.tags,
            properties=properties,
        )
    )


def _check_environment(
    workspace: Workspace, config: ScriptRunConfig, target: ComputeTarget
) -> None:
    plan = plan_for(config, target, "python")  # which one is not asked before it has to be
    credentials_of([config.run_config.environment])
    context = None if plan.image is None else plan.image.context_id
    if context is not None and workspace.artifacts.blobs.missing([context]):
        raise ConfigurationError(
            f"this workspace has no such build context: {context}; make it here with "
            "DockerBuildContext.from_local_directory"
        )
    if missing := workspace.artifacts.blobs.missing(plan.wheel_digests):
        packages = config.run_config.environment.python.packages  # type: ignore[union-attr]
        wheels = ", ".join(line for line in packages if any(digest in line for digest in missing))
        raise ConfigurationError(
            f"this workspace has no such private wheel: {wheels}; add it here with "
            "Environment.add_private_pip_wheel"
        )
