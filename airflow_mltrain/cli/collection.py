"""`mltrain gc`: make room on a compute target."""

from __future__ import annotations

from argparse import Namespace

from airflow_mltrain.cli.built_environment import render_built, total_size
from airflow_mltrain.workspace import Workspace


def collect(arguments: Namespace) -> int:
    """Remove what was not used for longest until the rest fits, and print what that was."""
    workspace = Workspace.from_config()
    target = workspace.get_target(arguments.target)
    max_bytes = workspace.settings.environments_max_bytes
    if arguments.max_gigabytes is not None:
        max_bytes = int(arguments.max_gigabytes * 10**9)
    removed = target.collect_environments(max_bytes, is_dry_run=arguments.dry_run)
    gone = {one.key for one in removed}  # still listed after a dry run
    left = [one for one in target.list_environments() if one.key not in gone]
    if removed:
        print(render_built(removed))
    verb = "would be removed" if arguments.dry_run else "removed"
    print(
        f"{verb} from {target.name}: {len(removed)} ({total_size(removed)}); "
        f"left there: {len(left)} ({total_size(left)})"
    )
    return 0
