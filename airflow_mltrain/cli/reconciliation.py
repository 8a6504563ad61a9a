"""`mltrain reconcile`: find runs that nobody watches, and jobs that belong to nobody."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

from airflow_mltrain import reconciliation
from airflow_mltrain.cli.table import render_table, render_time
from airflow_mltrain.reconciliation import OrphanJob, ReconciledRun, Reconciliation
from airflow_mltrain.workspace import Workspace

_RUN_HEADINGS = ("RUN", "TARGET", "WAS", "IS", "WHAT")
_ORPHAN_HEADINGS = ("UNKNOWN JOB", "TARGET", "STATUS", "LAST CHANGE (UTC)")
_FOUND_FAULT = 1


def reconcile(arguments: Namespace) -> int:
    """Bring the history to what the targets say; 1 where one of them could not be asked."""
    workspace = Workspace.from_config()
    targets = arguments.target or []
    if arguments.cancel or arguments.discard:
        if len(targets) != 1:
            print("mltrain: name the one --target of these jobs", file=sys.stderr)
            return 2
        return _treat_orphans(workspace, targets[0], arguments)
    found = reconciliation.reconcile(workspace, targets)
    print(json.dumps(_as_json(found), indent=2) if arguments.json else _as_text(found))
    is_whole = not found.silent_targets and not any(run.fault for run in found.runs)
    return 0 if is_whole else _FOUND_FAULT


def _treat_orphans(workspace: Workspace, target: str, arguments: Namespace) -> int:
    others = reconciliation.cancel_orphans(workspace, target, arguments.cancel)
    others += reconciliation.discard_orphans(workspace, target, arguments.discard)
    for run_id in others:
        print(
            f"mltrain: {run_id} is no job of {target} that the run history does not know; "
            "it is left alone",
            file=sys.stderr,
        )
    return _FOUND_FAULT if others else 0


def _as_text(found: Reconciliation) -> str:
    parts = []
    if found.runs:
        parts.append(render_table(_RUN_HEADINGS, [_run_row(run) for run in found.runs]))
    if found.orphans:
        parts.append(render_table(_ORPHAN_HEADINGS, [_orphan_row(one) for one in found.orphans]))
    parts += [f"{name}: its jobs are not known: {why}" for name, why in found.silent_targets]
    news = sum(run.before.status is not run.after.status for run in found.runs)
    parts.append(
        f"unfinished runs: {len(found.runs)}; with news: {news}; "
        f"jobs that the run history does not know: {len(found.orphans)}"
    )
    return "\n\n".join(parts)


def _run_row(run: ReconciledRun) -> tuple[str, ...]:
    record = run.after
    return (record.run_id, record.target, run.before.status, record.status, _remark(run))


def _remark(run: ReconciledRun) -> str:
    if run.fault is not None:
        return run.fault
    if run.is_unstarted:
        return "never started; submit its task again, or cancel it"
    return run.after.error or ""


def _orphan_row(orphan: OrphanJob) -> tuple[str, ...]:
    job = orphan.job
    return (job.run_id, orphan.target, job.status, render_time(job.changed_at))


def _as_json(found: Reconciliation) -> dict[str, Any]:
    return {
        "runs": [
            {
                "run_id": run.after.run_id,
                "target": run.after.target,
                "was": run.before.status,
                "is": run.after.status,
                "fault": run.fault,
                "is_unstarted": run.is_unstarted,
            }
            for run in found.runs
        ],
        "orphans": [
            {
                "target": orphan.target,
                **orphan.job._asdict(),
                "changed_at": orphan.job.changed_at.isoformat(),
            }
            for orphan in found.orphans
        ],
        "silent_targets": dict(found.silent_targets),
    }
