"""`mltrain gc`: make room on a compute target and in the artifact store."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime, timedelta, timezone

from airflow_mltrain import retention
from airflow_mltrain.cli.built_environment import render_built, total_size
from airflow_mltrain.cli.table import render_size
from airflow_mltrain.targets.base import ComputeTarget
from airflow_mltrain.workspace import Workspace


def collect(arguments: Namespace) -> int:
    """Remove what is needed no longer, and print what that was."""
    workspace = Workspace.from_config()
    target = workspace.get_target(arguments.target)
    verb = "would be removed" if arguments.dry_run else "removed"
    _collect_environments(workspace, target, arguments, verb)
    _collect_jobs(workspace, target, arguments, verb)
    _collect_artifacts(workspace, arguments, verb)
    return 0


def collect_environments(arguments: Namespace) -> int:
    """Remove the environments that were not used for longest until the rest fits."""
    workspace = Workspace.from_config()
    verb = "would be removed" if arguments.dry_run else "removed"
    _collect_environments(workspace, workspace.get_target(arguments.target), arguments, verb)
    return 0


def _collect_environments(
    workspace: Workspace, target: ComputeTarget, arguments: Namespace, verb: str
) -> None:
    max_bytes = workspace.settings.environments_max_bytes
    if arguments.max_gigabytes is not None:
        max_bytes = int(arguments.max_gigabytes * 10**9)
    removed = target.collect_environments(max_bytes, is_dry_run=arguments.dry_run)
    gone = {one.key for one in removed}  # still listed after a dry run
    left = [one for one in target.list_environments() if one.key not in gone]
    if removed:
        print(render_built(removed))
    print(
        f"{verb} from {target.name}: {len(removed)} ({total_size(removed)}); "
        f"left there: {len(left)} ({total_size(left)})"
    )


def _collect_jobs(
    workspace: Workspace, target: ComputeTarget, arguments: Namespace, verb: str
) -> None:
    ended_before = _days_ago(arguments.jobs_older_than)
    jobs = retention.collect_jobs(workspace, target, ended_before, is_dry_run=arguments.dry_run)
    young = retention.YOUNG.total_seconds()
    blobs = target.collect_blobs(young, is_dry_run=arguments.dry_run)
    print(
        f"{verb} from {target.name}: {len(jobs)} jobs; {blobs.number} files of source directories "
        f"({render_size(blobs.size_bytes)})"
    )


def _collect_artifacts(workspace: Workspace, arguments: Namespace, verb: str) -> None:
    days = arguments.artifacts_older_than
    ended_before = None if days is None else _days_ago(days)
    gone = retention.collect_artifacts(workspace, ended_before, is_dry_run=arguments.dry_run)
    for run_id in gone.run_ids:
        print(f"{verb}: log and outputs of run {run_id}")
    print(
        f"{verb} from the artifact store: log and outputs of {len(gone.run_ids)} runs; "
        f"{gone.blobs.number} files of source directories ({render_size(gone.blobs.size_bytes)})"
    )


def _days_ago(days: float) -> datetime:
    return datetime.now(timezone.utc) - timedelta(days=days)
